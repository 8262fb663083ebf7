"""A sampler: the explicit midpoint method, by exact steps for a constant estimate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from dmtool.config.kinds import Plugin
from dmtool.config.sampling import SamplerBase
from dmtool.diffusion.samplers import Bound, Noise, Step
from dmtool.diffusion.samplers.base import drawn_to, intervals, level
from dmtool.diffusion.samplers.renoise import renoising


@dataclass(frozen=True, kw_only=True)
class Midpoint(SamplerBase):
    """`place`: where in a step's time the estimate is made that all of the step goes by."""

    kind: Literal["dmtool-example:midpoint"]
    place: Annotated[float, Field(gt=0, lt=1)]

    def cost(self, steps: int) -> int:
        return 2 * steps


@renoising
def midpoint(
    denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise, place: float
) -> Iterator[Step]:
    """Two calls a step; 0.5 is the middle."""
    for a, b in intervals(times, denoiser.schedule):
        between = level(a.t + place * (b.t - a.t), denoiser.schedule)
        x_0 = denoiser(drawn_to(x, denoiser(x, a.t), a, between), between.t)
        x = drawn_to(x, x_0, a, b)
        yield Step(b.t.item(), x, x_0)


MIDPOINT = Plugin(Midpoint, lambda config: partial(midpoint, place=config.place))
