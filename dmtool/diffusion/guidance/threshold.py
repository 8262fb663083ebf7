"""Thresholding: estimates of the clean picture are brought back to what pictures can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoise, Estimate, Estimating, estimate
from dmtool.diffusion.noise import Schedule

Clip = Callable[[Tensor], Tensor]
"""Brings x_0 [B, ...] into [-1, 1]."""


@dataclass
class Thresholded(Estimating):
    """A denoiser of pictures in [-1, 1] whose estimates of x_0 stay there.

    A learned variance's fraction is passed on.
    """

    denoiser: Denoise
    clip: Clip

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
        x_0, fraction = estimate(self.denoiser, x_t, t, cond)
        return Estimate(self.clip(x_0), fraction)


def static(x_0: Tensor) -> Tensor:
    """x_0 [B, ...] clipped to [-1, 1]."""
    return x_0.clamp(-1, 1)


def dynamic(x_0: Tensor, share: float, bound: float) -> Tensor:
    """x_0 [B, ...] clipped to [-s, s] and divided by s, picture by picture.

    s is the quantile `share` of the picture's absolute values, within [1, bound] (Saharia et al.,
    arXiv:2205.11487, section 2.3).
    """
    s = quantile(x_0.flatten(1).abs(), share).clamp(1, bound)
    s = s.reshape(-1, *[1] * (x_0.dim() - 1))
    return x_0.clamp(-s, s) / s


def quantile(rows: Tensor, share: float) -> Tensor:
    """The quantile of each row [B, n], linear between values: `torch.quantile`, of any size."""
    n = rows.shape[1]
    place = share * (n - 1)
    below = min(math.floor(place), n - 2) if n > 1 else 0
    low, high = (rows.kthvalue(min(k, n - 1) + 1, dim=1).values for k in (below, below + 1))
    return low.lerp(high, place - below)
