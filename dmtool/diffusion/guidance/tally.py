"""What guidance costs: a denoiser that only counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Estimate, Estimating
from dmtool.diffusion.noise import Schedule


@dataclass
class Tally(Estimating):
    """Estimates 0 of everything, and counts the pictures that it was asked for."""

    schedule: Schedule
    evaluations: int = 0

    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
        self.evaluations += len(x_t)
        return Estimate(torch.zeros_like(x_t), torch.zeros_like(x_t))
