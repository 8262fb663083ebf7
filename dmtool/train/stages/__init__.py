"""What each stage makes of a batch: `KINDS` lists them."""

from dmtool.train.stages.kinds import KINDS, Kind, train

__all__ = ["KINDS", "Kind", "train"]
