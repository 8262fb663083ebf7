"""The averages of weights that a training keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import Count, OneOf, Schema


@dataclass(frozen=True, kw_only=True)
class EmaBase(Schema):
    """`snapshots`: widths of power-function averages that the run keeps for `dmtool ema`."""

    snapshots: list[Annotated[float, Field(gt=0, lt=0.28)]]


@dataclass(frozen=True, kw_only=True)
class PowerEma(EmaBase):
    """Power-function average of relative width `sigma_rel` (EDM2, arXiv:2312.02696); 0 is none."""

    kind: Literal["power"]
    sigma_rel: Annotated[float, Field(ge=0, lt=0.28)]


@dataclass(frozen=True, kw_only=True)
class ExponentialEma(EmaBase):
    """The usual exponential average; `half_life` is in pictures."""

    kind: Literal["exponential"]
    half_life: Count


Ema = Annotated[PowerEma | ExponentialEma, OneOf]
