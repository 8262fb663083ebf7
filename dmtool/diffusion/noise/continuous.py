"""Schedules in closed form, each with its inverse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


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


@dataclass(frozen=True)
class Flow:
    """Rectified flow, alpha = 1 - u, sigma = u (Liu et al., arXiv:2209.03003), at the shifted time
    u = shift t / (1 + (shift - 1) t) (Esser et al., arXiv:2403.03206, eq. 23)."""

    shift: float = 1.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        norm = 1 + (self.shift - 1) * t
        return (1 - t) / norm, self.shift * t / norm

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2 - math.log(self.shift))


class Cosine:
    """Variance-preserving cosine: alpha = cos(pi t / 2) (Nichol & Dhariwal, arXiv:2102.09672).

    The offset s of their eq. 17 only served their discrete steps and is left out.
    """

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sin((1 - t) * math.pi / 2), torch.sin(t * math.pi / 2)  # alpha(1) is 0

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr / 2)) * 2 / math.pi


@dataclass(frozen=True)
class Sigmoid:
    """Variance preserving; alpha^2 falls from 1 to 0 as the logistic function's stretch between
    `start` and `end`, at temperature `tau` (Jabri et al., arXiv:2212.11972, algorithm 1).

    Its clipping at 1e-9 is left out: alpha(1) is 0. Differences of logistic functions are written
    as sinh and cosh, which lose no digits at the ends.
    """

    start: float
    end: float
    tau: float

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        low, high, half = self._scaled()
        norm = torch.cosh((low + 2 * half * t) / 2) * math.sinh(half)
        alpha = torch.sinh((1 - t) * half) * math.cosh(low / 2) / norm
        return alpha.sqrt(), (torch.sinh(t * half) * math.cosh(high / 2) / norm).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        low, high, half = self._scaled()
        ratio = torch.exp(log_snr) * math.cosh(high / 2) / math.cosh(low / 2)
        t = torch.log1p(2 * math.sinh(half) / (ratio + math.exp(-half))) / (2 * half)
        return t.clamp(0, 1)

    def _scaled(self) -> tuple[float, float, float]:
        low, high = self.start / self.tau, self.end / self.tau
        return low, high, (high - low) / 2


@dataclass(frozen=True)
class VpSde:
    """The variance-preserving SDE (Song et al., arXiv:2011.13456, eq. 33):
    ln alpha^2 = -beta_min t - (beta_max - beta_min) t^2 / 2; alpha(1) is above 0."""

    beta_min: float
    beta_max: float

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha_bar = -self.beta_min * t - (self.beta_max - self.beta_min) * t**2 / 2
        return torch.exp(log_alpha_bar / 2), (-torch.expm1(log_alpha_bar)).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        most = (self.beta_min + self.beta_max) / 2
        lost = (-torch.nn.functional.logsigmoid(log_snr)).clamp(max=most)
        slope = self.beta_max - self.beta_min
        root = (self.beta_min**2 + 2 * slope * lost).sqrt()
        return (2 * lost / (self.beta_min + root)).clamp(0, 1)


@dataclass(frozen=True)
class Edm:
    """Variance exploding: alpha = 1, sigma^(1 / rho) rises linearly from sigma_min to sigma_max
    (Karras et al., arXiv:2206.00364, eq. 5), after sigma's own rise from 0 to sigma_min in the
    first thousandth of t."""

    sigma_min: float
    sigma_max: float
    rho: float

    first = 1e-3
    """The time at which sigma is sigma_min."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self._roots()
        along = ((t - self.first) / (1 - self.first)).clamp(min=0)
        path = (low + along * (high - low)) ** self.rho
        return torch.ones_like(t), torch.where(
            t < self.first, self.sigma_min * t / self.first, path
        )

    def time(self, log_snr: Tensor) -> Tensor:
        low, high = self._roots()
        sigma = torch.exp(-log_snr / 2)
        along = (sigma ** (1 / self.rho) - low) / (high - low)
        path = self.first + (1 - self.first) * along
        before = self.first * sigma / self.sigma_min
        return torch.where(sigma < self.sigma_min, before, path).clamp(0, 1)

    def _roots(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
