"""What samplers are written in: bound denoisers, levels of noise, and moves between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoise, Estimate, estimate
from dmtool.diffusion.noise import Schedule, log_snr

Noise = Callable[[Tensor], Tensor]


class Step(NamedTuple):
    """The state after a step: its time, x_t, and the estimate of x_0 that led there."""

    t: float
    x: Tensor
    x_0: Tensor


@dataclass
class Bound:
    """A denoiser with its condition: what samplers call. Counts its calls."""

    denoiser: Denoise
    cond: Cond
    calls: int = 0

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.estimate(x_t, t).x_0

    def estimate(self, x_t: Tensor, t: Tensor) -> Estimate:
        """With the variance's fraction, if one has been learned; it is one call as well."""
        self.calls += 1
        return estimate(self.denoiser, x_t, t.expand(len(x_t)), self.cond)


class Sample(Protocol):
    """A sampler with its own settings bound."""

    def __call__(
        self, denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise
    ) -> Iterator[Step]: ...


class Level(NamedTuple):
    """A time with its coefficients: scalars on the CPU in float64, which cost no device sync."""

    t: Tensor
    alpha: Tensor
    sigma: Tensor

    @property
    def ratio(self) -> Tensor:
        """sigma / alpha, in [0, inf]."""
        return self.sigma / self.alpha

    @property
    def half_log_snr(self) -> Tensor:
        """ln(alpha / sigma), in [-inf, inf]: the lambda of the exponential integrators."""
        return log_snr(self.alpha, self.sigma) / 2


def level(t: Tensor, schedule: Schedule) -> Level:
    """The level of noise at a time (a scalar)."""
    t = t.double().cpu()
    return Level(t, *schedule(t))


def intervals(times: Tensor, schedule: Schedule) -> Iterator[tuple[Level, Level]]:
    """The levels (from, to) of each interval of times [N + 1]."""
    times = times.double().cpu()
    alpha, sigma = schedule(times)
    yield from pairwise(map(Level, times, alpha, sigma))


def moves_by_ratio(schedule: Schedule) -> bool:
    """Whether linear solvers integrate x / alpha over sigma / alpha, as EDM and diffusers do.

    It needs a finite sigma / alpha at t = 1. Where alpha is 0 there (rectified flow, cosine), they
    integrate x itself along (alpha, sigma), for rectified flow over t.
    """
    alpha, _ = schedule(torch.ones((), dtype=torch.float64))
    return bool(alpha > 0)


def moved(x: Tensor, x_0: Tensor, eps: Tensor, a: Level, b: Level, *, by_ratio: bool) -> Tensor:
    """x from a to b along the straight line that x_0 and eps tell, in the solver's variable.

    dx = x_0 d(alpha) + eps d(sigma), or d(x / alpha) = eps d(sigma / alpha). If x is
    alpha x_0 + sigma eps, both are DDIM's step; for averages of several estimates they differ.
    """
    if not by_ratio:
        return x + (b.alpha - a.alpha) * x_0 + (b.sigma - a.sigma) * eps
    scale = b.alpha / a.alpha
    return scale * x + (b.sigma - scale * a.sigma) * eps


def drawn_to(x: Tensor, data: Tensor, a: Level, b: Level) -> Tensor:
    """The exact step from a to b if the estimate of x_0 were `data` all the way; finite at both
    ends (arXiv:2211.01095, eq. 9)."""
    shrink = b.sigma / a.sigma
    return shrink * x + (b.alpha - shrink * a.alpha) * data


def renoised(x: Tensor, a: Level, b: Level, noise: Noise) -> Tensor:
    """A draw of q(x_b | x_a), the forward process; b is at least as noisy as a."""
    scale = b.alpha / a.alpha
    std = (b.sigma**2 - (scale * a.sigma) ** 2).clamp(min=0).sqrt()
    return scale * x + std * noise(x)
