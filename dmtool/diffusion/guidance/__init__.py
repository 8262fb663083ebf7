"""Guidance is a denoiser that wraps a denoiser; samplers know nothing of it.

All take numbers: what a config asks for is made of them in `dmtool.diffusion.guiding`, thresholds
in `dmtool.diffusion.sampling`.
"""

from dmtool.diffusion.guidance.auto import AutoGuided, Bad
from dmtool.diffusion.guidance.classifier_free import ClassifierFree
from dmtool.diffusion.guidance.interval import Within
from dmtool.diffusion.guidance.projected import Projection
from dmtool.diffusion.guidance.tally import Tally
from dmtool.diffusion.guidance.threshold import Clip, Thresholded, dynamic, static

__all__ = [
    "AutoGuided",
    "Bad",
    "ClassifierFree",
    "Clip",
    "Projection",
    "Tally",
    "Thresholded",
    "Within",
    "dynamic",
    "static",
]
