"""Samplers and their grids, one schema a kind: no kind has an option that it does not use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from dmtool.config.base import (
    Count,
    Fraction,
    Natural,
    NonNegative,
    OneOf,
    Positive,
    Schema,
    by_group,
)
from dmtool.config.kinds import Kinds
from dmtool.config.threshold import Threshold

# --- grids ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class UniformGrid(Schema):
    """Equal intervals of time, moved to more noise by a `shift` above 1."""

    kind: Literal["uniform"]
    shift: Positive


@dataclass(frozen=True, kw_only=True)
class LogSnrGrid(Schema):
    """Equal intervals of log-SNR."""

    kind: Literal["log_snr"]


@dataclass(frozen=True, kw_only=True)
class LevelsGrid(Schema):
    """Explicit levels sigma/alpha. The first may be null, the schedule's noisiest; in place of the
    last stands the clean picture."""

    kind: Literal["levels"]
    levels: tuple[NonNegative | None, ...]

    def __post_init__(self) -> None:
        first, *others = self.levels or (None,)
        if not others or None in others:
            raise ValueError("levels: at least two numbers, of which the first may be null")
        levels = [math.inf if first is None else first, *(each or 0.0 for each in others)]
        if any(a <= b for a, b in pairwise(levels)):
            raise ValueError(
                f"levels: sigma / alpha must fall from each to the next: {self.levels}"
            )


@dataclass(frozen=True, kw_only=True)
class KarrasGrid(Schema):
    """Equal intervals of (sigma/alpha)^(1/rho), from `high` to `low`, then the clean picture."""

    kind: Literal["karras"]
    low: Positive
    high: Positive
    rho: Positive

    def __post_init__(self) -> None:
        _ordered(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class LeadingGrid(Schema):
    kind: Literal["leading"]
    offset: Natural
    last: Literal["zero", "first"]


@dataclass(frozen=True, kw_only=True)
class TrailingGrid(Schema):
    kind: Literal["trailing"]
    last: Literal["zero", "first"]


@dataclass(frozen=True, kw_only=True)
class LinspaceGrid(Schema):
    kind: Literal["linspace"]


Grid = Annotated[
    UniformGrid | LogSnrGrid | KarrasGrid | LeadingGrid | TrailingGrid | LinspaceGrid | LevelsGrid,
    OneOf,
    by_group("sampler/grid"),
]


def ends_clean(grid: Grid) -> bool:
    """Whether a grid's last level is the clean picture, sigma = 0."""
    return not isinstance(grid, LeadingGrid | TrailingGrid) or grid.last == "zero"


# --- samplers -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SamplerBase(Schema):
    """`steps` is the number of intervals; `calls` stands in its place as the most denoiser calls
    that may be made. Exactly one of them is set."""

    fewest: ClassVar[int] = 1
    """The smallest number of intervals that the kind has a meaning for."""

    steps: Count | None
    calls: Count | None
    grid: Grid
    threshold: Threshold
    kind: str

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.calls is None):
            raise ValueError(
                f"steps={_word(self.steps)} and calls={_word(self.calls)}: set one of them and "
                "leave the other null"
            )
        if self.intervals < self.fewest:
            needed = f"{self.fewest} steps ({self.cost(self.fewest)} calls)"
            raise ValueError(f"needs at least {needed}: dpmpp_2m and unipc do with fewer")

    def cost(self, steps: int) -> int:
        """The denoiser calls that so many intervals take."""
        return steps

    @property
    def deterministic(self) -> bool:
        """Whether a picture hangs on its first state alone."""
        return True

    @property
    def intervals(self) -> int:
        """`steps`, or as many as `calls` allow (0 if not even one)."""
        if self.calls is None:
            assert self.steps is not None
            return self.steps
        return next((n for n in range(self.calls, 0, -1) if self.cost(n) <= self.calls), 0)

    @property
    def calls_made(self) -> int:
        """The denoiser calls for a picture."""
        return self.cost(self.intervals)


def _word(value: int | None) -> str:
    return "null" if value is None else str(value)


def _ordered(low: float, high: float) -> None:
    if low >= high:
        raise ValueError(f"low={low} must be below high={high}")


@dataclass(frozen=True, kw_only=True)
class EulerSampler(SamplerBase):
    kind: Literal["euler"]


@dataclass(frozen=True, kw_only=True)
class EulerAncestralSampler(SamplerBase):
    kind: Literal["euler_ancestral"]

    @property
    def deterministic(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Dpmpp2mSampler(SamplerBase):
    kind: Literal["dpmpp_2m"]


@dataclass(frozen=True, kw_only=True)
class DdpmSampler(SamplerBase):
    kind: Literal["ddpm"]
    variance: Literal["small", "large", "learned"]

    @property
    def deterministic(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class DdimSampler(SamplerBase):
    kind: Literal["ddim"]
    eta: Fraction

    @property
    def deterministic(self) -> bool:
        return self.eta == 0


@dataclass(frozen=True, kw_only=True)
class DpmppSdeSampler(SamplerBase):
    kind: Literal["dpmpp_2m_sde"]
    eta: Fraction

    @property
    def deterministic(self) -> bool:
        return self.eta == 0


@dataclass(frozen=True, kw_only=True)
class Dpmpp3mSampler(SamplerBase):
    kind: Literal["dpmpp_3m"]
    curvature: Literal[1, 2]


@dataclass(frozen=True, kw_only=True)
class UniPCSampler(SamplerBase):
    kind: Literal["unipc"]
    order: Literal[2, 3]


@dataclass(frozen=True, kw_only=True)
class PlmsSampler(SamplerBase):
    kind: Literal["plms"]

    fewest: ClassVar[int] = 4

    def cost(self, steps: int) -> int:
        return steps + 1


@dataclass(frozen=True, kw_only=True)
class Trapezoidal(SamplerBase):
    """Two calls an interval, but one for that to sigma = 0."""

    def cost(self, steps: int) -> int:
        return 2 * steps - ends_clean(self.grid)


@dataclass(frozen=True, kw_only=True)
class HeunSampler(Trapezoidal):
    kind: Literal["heun"]


@dataclass(frozen=True, kw_only=True)
class EdmSampler(Trapezoidal):
    """`s_tmin` and `s_tmax` bound sigma/alpha where noise is added."""

    kind: Literal["edm"]
    s_churn: NonNegative
    s_tmin: NonNegative
    s_tmax: Positive
    s_noise: NonNegative

    @property
    def deterministic(self) -> bool:
        return self.s_churn == 0


@dataclass(frozen=True, kw_only=True)
class RestartSampler(Trapezoidal):
    """From `low` the noise is raised to `high` (sigma/alpha) and taken away again in `inner`
    intervals, `repeats` times."""

    kind: Literal["restart"]
    low: Positive
    high: Positive
    inner: Count
    repeats: Count
    rho: Positive

    fewest: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        _ordered(self.low, self.high)

    def cost(self, steps: int) -> int:
        return super().cost(steps) + 2 * self.inner * self.repeats

    @property
    def deterministic(self) -> bool:
        return False


Sampler = Annotated[SamplerBase, Kinds(
    "sampler", EulerSampler, EulerAncestralSampler, Dpmpp2mSampler, DdpmSampler, DdimSampler,
    DpmppSdeSampler, Dpmpp3mSampler, UniPCSampler, PlmsSampler, HeunSampler, EdmSampler,
    RestartSampler,
)]  # fmt: skip
