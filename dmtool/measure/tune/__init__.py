"""The search for the best sampler, step grid and guidance at few calls of a trained model."""

from dmtool.measure.tune.bench import Bench, distance, errors, rmse
from dmtool.measure.tune.settings import explicit, label, parsed
from dmtool.measure.tune.steps import best_steps, descend
from dmtool.measure.tune.tune import run

__all__ = [
    "Bench",
    "best_steps",
    "descend",
    "distance",
    "errors",
    "explicit",
    "label",
    "parsed",
    "rmse",
    "run",
]
