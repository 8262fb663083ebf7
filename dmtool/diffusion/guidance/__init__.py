"""Guidance is a denoiser that wraps a denoiser; samplers know nothing of it."""

from dmtool.diffusion.guidance.auto import AutoGuided
from dmtool.diffusion.guidance.build import Bad, build
from dmtool.diffusion.guidance.classifier_free import ClassifierFree
from dmtool.diffusion.guidance.interval import Within
from dmtool.diffusion.guidance.projected import Projection
from dmtool.diffusion.guidance.tally import Tally
from dmtool.diffusion.guidance.threshold import Thresholded, settled, thresholded

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
