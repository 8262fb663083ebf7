"""Guidance is a denoiser that wraps a denoiser; samplers know nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.denoise import Denoise
from dmtool.noise import Schedule


@dataclass
class ClassifierFree:
    """x_0 = negative + scale (positive - negative) (Ho & Salimans, arXiv:2207.12598).

    `negative` is the null caption, or a negative prompt; it has the batch size of what it guides
    or 1. Both evaluations run as one batch. On the estimate of x_0 this equals guidance on eps.
    """

    denoiser: Denoise
    negative: Cond
    scale: float

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        negative = self.negative
        if negative.batch == 1:
            negative = negative.repeat_interleave(len(x_t))
        negative = negative.with_extras(**cond.extras)
        pair = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), Cond.cat([cond, negative]))
        positive, other = pair.chunk(2)
        return other + self.scale * (positive - other)
