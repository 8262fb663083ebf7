"""Noise schedules: t -> (alpha, sigma), and how t is drawn in training.

THE TIME CONVENTION. t is in [0, 1] and noise grows with t: x_t = alpha(t) x_0 + sigma(t) eps. A
discrete model of T steps (DDPM, Stable Diffusion: T = 1000) has its index i at t = (i + 1) / T,
and t = 0 is the clean picture, alpha = 1. Between grid points log alpha-bar is interpolated
linearly. A network never hears t itself but `c_noise`, a function of the log-SNR
ln(alpha^2 / sigma^2), so that another grid or a shifted schedule changes nothing in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

T = 1000
"""Number of steps of the discrete models."""


class Schedule(Protocol):
    """A function of t, of any shape and floating type."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma), both of t's shape."""
        ...

    def time(self, log_snr: Tensor) -> Tensor:
        """The inverse: the t in [0, 1] at which ln(alpha^2 / sigma^2) has this value."""
        ...


def log_snr(alpha: Tensor, sigma: Tensor) -> Tensor:
    """ln(alpha^2 / sigma^2), in [-inf, inf]."""
    return 2 * (alpha.log() - sigma.log())


class Flow:
    """Rectified flow: alpha = 1 - t, sigma = t (Liu et al., arXiv:2209.03003)."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


class Cosine:
    """Variance-preserving cosine: alpha = cos(pi t / 2) (Nichol & Dhariwal, arXiv:2102.09672).

    The offset s of their eq. 17 only served their discrete steps and is left out.
    """

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sin((1 - t) * math.pi / 2), torch.sin(t * math.pi / 2)  # alpha(1) is 0

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr / 2)) * 2 / math.pi


class Betas:
    """A discrete variance-preserving schedule by its betas, of shape [T], interpolated in t."""

    def __init__(self, betas: Tensor) -> None:
        log_alpha_bar = torch.cat([torch.zeros(1), torch.log1p(-betas.double()).cumsum(0)])
        self.log_alpha_bar = log_alpha_bar  # at t = 0, 1/T, ..., 1
        self.log_snr = log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        value = _interpolate(t, self.log_alpha_bar)
        alpha_bar, one_minus = value.exp(), -torch.expm1(value)
        return alpha_bar.sqrt().to(t.dtype), one_minus.sqrt().to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        log_alpha_bar = torch.nn.functional.logsigmoid(log_snr.double())
        table = self.log_alpha_bar.to(log_snr.device)
        steps = len(table) - 1
        right = torch.searchsorted(-table, -log_alpha_bar.contiguous()).clamp(1, steps)
        low, high = table[right - 1], table[right]
        fraction = ((low - log_alpha_bar) / (low - high)).clamp(0, 1)
        return ((right - 1 + fraction) / steps).to(log_snr.dtype)


def _interpolate(t: Tensor, table: Tensor) -> Tensor:
    steps = len(table) - 1
    place = t.double().clamp(0, 1) * steps
    left = place.floor().clamp(max=steps - 1).long()
    table = table.to(t.device)
    return torch.lerp(table[left], table[left + 1], place - left)


def ddpm_betas() -> Tensor:
    """Linear betas from 1e-4 to 0.02 (Ho et al., arXiv:2006.11239), shape [T]."""
    return torch.linspace(1e-4, 0.02, T, dtype=torch.float64)


def sd_betas() -> Tensor:
    """Stable Diffusion's scaled-linear betas: linear in their square root, shape [T]."""
    return torch.linspace(0.00085**0.5, 0.012**0.5, T, dtype=torch.float64) ** 2


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "flow": Flow,
    "cosine": Cosine,
    "ddpm": lambda: Betas(ddpm_betas()),
    "scaled_linear": lambda: Betas(sd_betas()),
}


@lru_cache
def schedule(kind: str) -> Schedule:
    """The schedule of this name; KeyError for an unknown one."""
    return SCHEDULES[kind]()


def initial_std(schedule: Schedule) -> float:
    """The standard deviation of the first state x_1 of whitened data: sqrt(alpha^2 + sigma^2)."""
    alpha, sigma = schedule(torch.ones((), dtype=torch.float64))
    return math.hypot(alpha.item(), sigma.item())


# --- how the network hears the noise level ----------------------------------------------------


def c_noise(kind: str, log_snr: Tensor) -> Tensor:
    """What the network is told of the noise level, of log_snr's shape.

    flow_time: 1000 sigma / (alpha + sigma), which is 1000 t of rectified flow. log_sigma:
    ln(sigma / alpha) / 4 (EDM, arXiv:2206.00364, table 1). ddpm_index, sd_index: the (fractional)
    index 0..999 of that discrete model with this log-SNR. All are finite at both ends: log_sigma
    stops at a log-SNR of +-20, just beyond what training draws.
    """
    match kind:
        case "flow_time":
            return 1000 * torch.sigmoid(-log_snr / 2)
        case "log_sigma":
            return -log_snr.clamp(-20, 20) / 8
        case "ddpm_index":
            return schedule("ddpm").time(log_snr) * T - 1
        case "sd_index":
            return schedule("scaled_linear").time(log_snr) * T - 1
    raise KeyError(kind)


# --- how t is drawn in training ---------------------------------------------------------------


def draw_times(
    kind: str, uniform: Tensor, mean: float = 0.0, std: float = 1.0, eps: float = 1e-4
) -> Tensor:
    """Training times in (0, 1) from uniform numbers of any shape, by inverting the density.

    `logit_normal` is the sigmoid of a normal (Esser et al., arXiv:2403.03206, eq. 19). `eps` keeps
    the ends, where a prediction may be undefined, out of reach.
    """
    uniform = uniform.clamp(eps, 1 - eps)
    if kind == "uniform":
        return uniform
    if kind == "logit_normal":
        normal = math.sqrt(2) * torch.erfinv(2 * uniform - 1)
        return torch.sigmoid(mean + std * normal).clamp(eps, 1 - eps)
    raise KeyError(kind)


def stratify(uniform: Tensor, positions: Tensor, batch_size: int) -> Tensor:
    """One uniform number for each stratum of the global batch (low discrepancy).

    `uniform` and `positions` are [B]; position p of the global batch falls into
    [p / batch_size, (p + 1) / batch_size), so any share of the batch can be drawn apart.
    """
    return (positions + uniform) / batch_size
