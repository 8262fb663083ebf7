"""The search for the best sampler, step grid and guidance at few calls of a trained model."""

from dmtool.tune.bench import Bench, distance, errors, rmse
from dmtool.tune.settings import explicit, label, parsed
from dmtool.tune.steps import best_steps, descend
from dmtool.tune.tune import tune

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
    "tune",
]
