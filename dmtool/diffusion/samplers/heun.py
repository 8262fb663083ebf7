"""Heun's method: plain, with churn (EDM), and with restarts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from dmtool.diffusion.denoise import eps_from_x0
from dmtool.diffusion.noise import Schedule
from dmtool.diffusion.samplers.base import (
    Bound,
    Level,
    Noise,
    Step,
    intervals,
    level,
    moved,
    moves_by_ratio,
    renoised,
)
from dmtool.diffusion.samplers.renoise import renoising


def heun(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise) -> Iterator[Step]:
    """The trapezoidal rule (Karras et al., arXiv:2206.00364, algorithm 1); 2 N - 1 calls.

    It integrates over sigma / alpha, or along (alpha, sigma) where alpha ends at 0: for rectified
    flow over t. The last step, to sigma = 0, is Euler's. Where times rise, the flow is followed
    upwards.
    """
    for a, b in intervals(times, denoiser.schedule):
        x, x_0 = heun_step(denoiser, x, a, b)
        yield Step(b.t.item(), x, x_0)


def heun_step(denoiser: Bound, x: Tensor, a: Level, b: Level) -> tuple[Tensor, Tensor]:
    """x at b, and the estimate of x_0 at a."""
    x_0 = denoiser(x, a.t)
    eps = eps_from_x0(x, x_0, a.alpha, a.sigma)
    euler = b.alpha * x_0 + b.sigma * eps
    if b.sigma == 0:
        return euler, x_0
    x_0_b = denoiser(euler, b.t)
    eps_b = eps_from_x0(euler, x_0_b, b.alpha, b.sigma)
    by_ratio = moves_by_ratio(denoiser.schedule)
    return moved(x, (x_0 + x_0_b) / 2, (eps + eps_b) / 2, a, b, by_ratio=by_ratio), x_0


@renoising
def restart(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise) -> Iterator[Step]:
    """Heun's method, and the forward process where times rise (Xu et al., arXiv:2306.14878)."""
    yield from heun(denoiser, x, times, noise=noise)


@renoising
def edm(
    denoiser: Bound,
    x: Tensor,
    times: Tensor,
    *,
    noise: Noise,
    steps: int,
    s_churn: float,
    s_tmin: float,
    s_tmax: float,
    s_noise: float,
) -> Iterator[Step]:
    """Heun's method with noise added before each step (arXiv:2206.00364, algorithm 2).

    Its sigma is sigma / alpha here, for any schedule; no noise is added beyond the schedule's
    noisiest level, nor where alpha = 0. `steps` is the N of a whole way from noise to picture, of
    which `times` may be a part.
    """
    gamma = min(s_churn / steps, 2**0.5 - 1)
    for a, b in intervals(times, denoiser.schedule):
        if gamma > 0 and s_tmin <= a.ratio <= s_tmax:
            churned = _raised(a, gamma, denoiser.schedule)
            x = renoised(x, a, churned, lambda x: s_noise * noise(x))
            a = churned
        x, x_0 = heun_step(denoiser, x, a, b)
        yield Step(b.t.item(), x, x_0)


def _raised(a: Level, gamma: float, schedule: Schedule) -> Level:
    """The level whose sigma / alpha is 1 + gamma times that of a."""
    t = schedule.time(2 * a.half_log_snr - 2 * math.log1p(gamma))
    return level(torch.maximum(t, a.t), schedule)
