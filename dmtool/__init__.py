"""dmtool trains a text-to-image system from scratch, in stages, and samples from it.

import dmtool
dmtool.load("runs/demo").sample("red heart", seed=0)[0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmtool.chain.pipeline import Pipeline

__version__ = "0.1.0"


def load(run: str, *overrides: str) -> Pipeline:
    """A trained run, ready to sample: `load("runs/demo", "sampler=euler", "guidance.scale=2")`.

    `overrides` are those of `dmtool sample`, and go before the artifact's own defaults. Raises
    dmtool.errors.UserError if a part of the run is missing or does not fit.
    """
    from dmtool.chain import pipeline
    from dmtool.chain.weighted import weighted
    from dmtool.config.compose import composed
    from dmtool.config.using import SampleConfig
    from dmtool.runs import defaults

    words = [f"run={run}", *overrides]
    return weighted(pipeline.load(defaults.tuned(composed("sample", words), words, SampleConfig)))
