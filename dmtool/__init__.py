"""dmtool trains a text-to-image system from scratch, in stages, and samples from it.

import dmtool
dmtool.load("runs/demo").sample("red heart", seed=0)[0]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmtool.pipeline import Pipeline

__version__ = "0.1.0"


def load(run: str, *overrides: str) -> Pipeline:
    """A trained run, ready to sample: `load("runs/demo", "sampler=euler", "guidance.scale=2")`.

    `overrides` are those of `dmtool sample`, and go before the artifact's own defaults. Raises
    dmtool.errors.UserError if a part of the run is missing or does not fit.
    """
    from dmtool import defaults, pipeline
    from dmtool.hydra_main import composed
    from dmtool.schemas import Sample
    from dmtool.weighted import weighted

    words = [f"run={run}", *overrides]
    return weighted(pipeline.load(defaults.tuned(composed("sample", words), words, Sample)))
