"""Classifier-free guidance, from the null caption or from a negative prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoise, Estimate, Estimating, estimate
from dmtool.diffusion.noise import Schedule

Direction = Callable[[Tensor, Tensor], Tensor]
"""(positive, positive - negative) -> the direction that is followed, all of x_0's shape."""


@dataclass
class ClassifierFree(Estimating):
    """x_0 = positive + (scale - 1) (positive - negative) (Ho & Salimans, arXiv:2207.12598).

    `negative` is the null caption, or a negative prompt; it has the batch size of what it guides
    or 1. Both evaluations run as one batch, at scale 1 there is but one. On the estimate of x_0
    this equals guidance on eps.

    `direction` may bend the difference. `rescale` is phi of `rescaled`, in the space of x_0.
    """

    denoiser: Denoise
    negative: Cond
    scale: float
    direction: Direction | None = None
    rescale: float = 0.0
    _both: tuple[Cond, Cond] | None = field(default=None, init=False, repr=False)
    """The condition that was guided last, and that of the pair."""

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
        if self.scale == 1:
            return estimate(self.denoiser, x_t, t, cond)
        (positive, fraction), negative = self._pair(x_t, t, cond)
        difference = positive - negative
        if self.direction is not None:
            difference = self.direction(positive, difference)
        guided = positive + (self.scale - 1) * difference
        guided = rescaled(guided, positive, self.rescale) if self.rescale else guided
        return Estimate(guided, fraction)

    def _pair(self, x_t: Tensor, t: Tensor, cond: Cond) -> tuple[Estimate, Tensor]:
        if self._both is None or self._both[0] is not cond:
            self._both = cond, self._paired(cond, len(x_t))
        both = self._both[1]
        pair = estimate(self.denoiser, torch.cat([x_t, x_t]), torch.cat([t, t]), both)
        positive, other = pair.x_0.chunk(2)
        fraction = None if pair.fraction is None else pair.fraction[: len(x_t)]
        return Estimate(positive, fraction), other

    def _paired(self, cond: Cond, batch: int) -> Cond:
        negative = self.negative
        if negative.batch == 1:
            negative = negative.repeat_interleave(batch)
        return Cond.cat([cond, negative.with_extras(**cond.extras)])


def rescaled(guided: Tensor, positive: Tensor, phi: float) -> Tensor:
    """The guided estimate [B, ...] with its standard deviation moved by `phi` of the way to that of
    the positive one, picture by picture (Lin et al., arXiv:2305.08891, eq. 15 and 16).

    Theirs is of what the network predicts, this one of x_0, so that it means the same for every
    prediction.
    """
    std = positive.flatten(1).std(1) / guided.flatten(1).std(1)
    factor = phi * std + (1 - phi)
    return guided * factor.reshape(-1, *[1] * (guided.dim() - 1))
