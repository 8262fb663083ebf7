"""Guidance in a limited interval of noise levels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoise, Estimate, Estimating, estimate
from dmtool.diffusion.noise import Schedule


@dataclass
class Within(Estimating):
    """`guided` where low < sigma / alpha <= high, elsewhere `plain` (Kynkäänniemi et al.,
    arXiv:2404.07724, eq. 5): there no second evaluation is made.

    The rows of a batch lie all on one side, as samplers have them; ValueError otherwise.
    """

    guided: Denoise
    plain: Denoise
    low: float
    high: float

    @property
    def schedule(self) -> Schedule:
        return self.plain.schedule

    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
        alpha, sigma = self.schedule(t.double())
        level = sigma / alpha
        inside = (level > self.low) & (level <= self.high)
        if bool(inside.any() and not inside.all()):
            raise ValueError("some rows of the batch lie within the interval of guidance, not all")
        return estimate(self.guided if bool(inside.all()) else self.plain, x_t, t, cond)
