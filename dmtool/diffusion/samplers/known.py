"""A picture that is given: trajectories begin with it, or keep what of it is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoise, Estimate, Estimating, estimate
from dmtool.diffusion.noise import Schedule
from dmtool.diffusion.samplers.base import Level


@dataclass(frozen=True)
class Known:
    """The clean picture x_0, [1, ...] or [B, ...], in the denoiser's space.

    Args:
        strength: the share of the grid's intervals that are walked, the last ones, in (0, 1]. At 1
            nothing of x_0 is in the first state but what is known (SDEdit, arXiv:2108.01073).
        paint: False where x_0 is known, broadcast to its shape; None: it is known nowhere.
        repeats, jump: each stretch of `jump` intervals, at most half of them, is walked `repeats`
            times, see `resampled`.
    """

    x_0: Tensor
    strength: float = 1.0
    paint: Tensor | None = None
    repeats: int = 1
    jump: int = 1

    def begun(self, noise: Tensor, pure: Tensor, start: Level) -> Tensor:
        """The first state, where `pure` would be that of a trajectory from noise alone."""
        noised = start.alpha * self.x_0.to(noise) + start.sigma * noise
        if self.strength < 1:
            return noised
        return pure if self.paint is None else torch.where(self.paint, pure, noised)

    def kept(self, denoiser: Denoise) -> Denoise:
        """The denoiser of a trajectory that ends with x_0 where it is known."""
        return denoiser if self.paint is None else Keeping(denoiser, self.x_0, self.paint)


@dataclass
class Keeping(Estimating):
    """A denoiser whose estimate is `x_0` itself but where `paint` is True.

    With it the known part of x_t stays what the forward process makes of x_0, from the first state
    on, under every sampler: all of them are exact for a constant estimate, those of several steps
    as well. So nothing is pasted into x_t on the way, and the part that is painted sees a known
    part of its own noise level (RePaint, arXiv:2201.09865, eq. 8).
    """

    denoiser: Denoise
    x_0: Tensor
    paint: Tensor

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
        x_0, fraction = estimate(self.denoiser, x_t, t, cond)
        return Estimate(torch.where(self.paint, x_0, self.x_0.to(x_t)), fraction)
