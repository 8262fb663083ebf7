"""Discrete schedules: tables of T steps, and what they are between the steps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

T = 1000
"""Number of steps of the discrete models."""


class Betas:
    """A discrete variance-preserving schedule by its betas, of shape [T], interpolated in t."""

    def __init__(self, betas: Tensor) -> None:
        log_alpha_bar = torch.cat([torch.zeros(1), torch.log1p(-betas.double()).cumsum(0)])
        self.log_alpha_bar = log_alpha_bar  # at t = 0, 1/T, ..., 1

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        value = _interpolate(t, self.log_alpha_bar)
        alpha_bar, one_minus = value.exp(), -torch.expm1(value)
        return alpha_bar.sqrt().to(t.dtype), one_minus.sqrt().to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        return self.place(logsigmoid(log_snr.double())).to(log_snr.dtype)

    def place(self, log_alpha_bar: Tensor) -> Tensor:
        """The t in [0, 1] at which ln alpha^2 has this value; float64."""
        table = self.log_alpha_bar.to(log_alpha_bar.device)
        steps = len(table) - 1
        right = torch.searchsorted(-table, -log_alpha_bar.contiguous()).clamp(1, steps)
        low, high = table[right - 1], table[right]
        fraction = ((low - log_alpha_bar) / (low - high)).clamp(0, 1)
        return (right - 1 + fraction) / steps


class ZeroTerminal:
    """A discrete schedule whose alpha is moved and stretched so that it ends at 0 and is at the
    first step what it was (Lin et al., arXiv:2305.08891, algorithm 1).

    Between the steps the same holds of the interpolated alpha; before the first it is as it was.
    """

    def __init__(self, table: Betas) -> None:
        self.table = table
        first, last = table.log_alpha_bar[1], table.log_alpha_bar[-1]
        self.first, self.last = first.exp().sqrt(), last.exp().sqrt()
        self.stretch = self.first / (self.first - self.last)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.table(t.double())
        moved = (alpha - self.last) * self.stretch
        early = alpha > self.first
        sigma = torch.where(early, sigma, (1 - moved**2).sqrt())
        return torch.where(early, alpha, moved).to(t.dtype), sigma.to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        log_alpha_bar = logsigmoid(log_snr.double())
        moved = 2 * torch.log(torch.exp(log_alpha_bar / 2) / self.stretch + self.last)
        early = log_alpha_bar > self.table.log_alpha_bar[1]
        return self.table.place(torch.where(early, log_alpha_bar, moved)).to(log_snr.dtype)


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
