"""Autoguidance: away from a worse version of the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoise, Estimate, Estimating, estimate
from dmtool.diffusion.noise import Schedule


class Bad(NamedTuple):
    """The model of autoguidance, with the condition of what is sampled."""

    denoiser: Denoise
    cond: Cond


@dataclass
class AutoGuided(Estimating):
    """x_0 = good + (scale - 1) (good - bad) (Karras et al., arXiv:2406.02507, eq. 3).

    `bad` has a schedule equal to that of `good`, and hears the same captions as `bad_cond`, of its
    own text encoder; None is the condition that `good` hears. `good` may itself be guided.
    """

    good: Denoise
    bad: Denoise
    bad_cond: Cond | None
    scale: float

    @property
    def schedule(self) -> Schedule:
        return self.good.schedule

    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
        good, fraction = estimate(self.good, x_t, t, cond)
        heard = cond if self.bad_cond is None else self.bad_cond.with_extras(**cond.extras)
        bad = self.bad(x_t, t, heard)
        return Estimate(good + (self.scale - 1) * (good - bad), fraction)
