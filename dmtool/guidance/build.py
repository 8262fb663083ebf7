"""From settings to the denoiser that a trajectory is sampled with."""

from __future__ import annotations

import math
from typing import NamedTuple

from dmtool.cond import Cond
from dmtool.denoise import Denoise
from dmtool.guidance.auto import AutoGuided
from dmtool.guidance.classifier_free import ClassifierFree
from dmtool.guidance.interval import Within
from dmtool.guidance.projected import Projection
from dmtool.schemas import Guidance, Projected

PLAIN = Projected(eta=1.0, momentum=0.0, norm=None)


class Bad(NamedTuple):
    """The model of autoguidance, with the condition of what is sampled."""

    denoiser: Denoise
    cond: Cond


def build(config: Guidance, denoiser: Denoise, negative: Cond, bad: Bad | None) -> Denoise:
    """The guided denoiser of ONE trajectory, which may remember it.

    Autoguidance wraps classifier-free guidance, and the interval both.
    """
    guided = denoiser
    if config.scale != 1:
        bend = None if config.projected == PLAIN else _projection(config.projected)
        guided = ClassifierFree(denoiser, negative, config.scale, bend, config.rescale)
    if bad is not None and config.bad_scale is not None:
        guided = AutoGuided(guided, bad.denoiser, bad.cond, config.bad_scale)
    if guided is denoiser:
        return denoiser
    high = math.inf if config.interval.high is None else config.interval.high
    return Within(guided, denoiser, config.interval.low, high)


def _projection(config: Projected) -> Projection:
    return Projection(config.eta, config.momentum, config.norm)
