"""Guidance; what each setting does stands in `dmtool/guidance/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dmtool.config.base import ArtifactName, Fraction, NonNegative, Positive, Schema


@dataclass(frozen=True, kw_only=True)
class Interval(Schema):
    """The levels sigma / alpha in (low, high] at which there is guidance; null is no bound."""

    low: NonNegative
    high: Positive | None

    def __post_init__(self) -> None:
        if self.high is not None and self.low >= self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}")


@dataclass(frozen=True, kw_only=True)
class Projected(Schema):
    """Adaptive projected guidance; eta 1, momentum 0 and norm null are none of it."""

    eta: NonNegative
    momentum: Annotated[float, Field(gt=-1, lt=1)]
    norm: Positive | None


@dataclass(frozen=True, kw_only=True)
class Perturbed(Schema):
    """Perturbed-attention guidance, 0 is none; `levels` of the resolution lose self-attention, 0 is
    the outermost, -1 the innermost."""

    scale: NonNegative
    levels: Annotated[list[int], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Guidance(Schema):
    """Classifier-free guidance, 1 is the plain conditional model; and autoguidance by the artifact
    `bad`."""

    scale: float
    interval: Interval
    rescale: Fraction
    projected: Projected
    perturbed: Perturbed
    bad: ArtifactName | None
    bad_scale: Annotated[float, Field(gt=1)] | None

    def __post_init__(self) -> None:
        if self.bad is not None and self.bad_scale is None:
            raise ValueError(f"bad={self.bad} needs bad_scale=, which is above 1")
        if self.bad is None and self.bad_scale is not None:
            raise ValueError("bad_scale is of bad=, the artifact that guides: give both or neither")
