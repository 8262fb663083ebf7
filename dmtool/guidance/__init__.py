"""Guidance is a denoiser that wraps a denoiser; samplers know nothing of it."""

from dmtool.guidance.auto import AutoGuided
from dmtool.guidance.build import Bad, build
from dmtool.guidance.classifier_free import ClassifierFree
from dmtool.guidance.interval import Within
from dmtool.guidance.projected import Projection
from dmtool.guidance.tally import Tally
from dmtool.guidance.threshold import Thresholded, settled, thresholded

__all__ = [
    "AutoGuided",
    "Bad",
    "ClassifierFree",
    "Projection",
    "Tally",
    "Thresholded",
    "Within",
    "build",
    "settled",
    "thresholded",
]
