"""The door of guidance: from a config to the denoiser that a trajectory is sampled with."""

from __future__ import annotations

import math

from dmtool.cond import Cond
from dmtool.config.guidance import Guidance, Projected
from dmtool.diffusion.denoise import Denoise
from dmtool.diffusion.guidance import AutoGuided, Bad, ClassifierFree, Projection, Within

PLAIN = Projected(eta=1.0, momentum=0.0, norm=None)


def build(
    config: Guidance,
    denoiser: Denoise,
    negative: Cond,
    bad: Bad | None,
    perturbed: Denoise | None = None,
) -> Denoise:
    """The guided denoiser of ONE trajectory, which may remember it.

    Perturbed-attention guidance, s away from the model that has lost self-attention (Ahn et al.,
    arXiv:2403.17377, eq. 15), wraps classifier-free guidance, autoguidance both, and the interval
    all. Their two differences to the conditional estimate add up: as the outer one multiplies the
    inner one's by 1 + s, that is divided by it.
    """
    guided, s = denoiser, 0.0 if perturbed is None else config.perturbed.scale
    if config.scale != 1:
        bend = None if config.projected == PLAIN else _projection(config.projected)
        scale = 1 + (config.scale - 1) / (1 + s)
        guided = ClassifierFree(denoiser, negative, scale, bend, config.rescale)
    if perturbed is not None and s:
        guided = AutoGuided(guided, perturbed, None, 1 + s)
    if bad is not None and config.bad_scale is not None:
        guided = AutoGuided(guided, bad.denoiser, bad.cond, config.bad_scale)
    if guided is denoiser:
        return denoiser
    high = math.inf if config.interval.high is None else config.interval.high
    return Within(guided, denoiser, config.interval.low, high)


def _projection(config: Projected) -> Projection:
    return Projection(config.eta, config.momentum, config.norm)
