"""Thresholds of the estimate of the clean picture, one schema a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import OneOf, Schema, by_group


@dataclass(frozen=True, kw_only=True)
class AutoThreshold(Schema):
    """Static where pictures are sampled, none where latents are."""

    kind: Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class NoThreshold(Schema):
    kind: Literal["none"]


@dataclass(frozen=True, kw_only=True)
class StaticThreshold(Schema):
    """Estimates of the clean picture are clipped to [-1, 1]."""

    kind: Literal["static"]


@dataclass(frozen=True, kw_only=True)
class DynamicThreshold(Schema):
    """They are clipped to [-s, s] and divided by s: a `percentile` of the estimate's absolute
    values, at least 1 and at most `bound`."""

    kind: Literal["dynamic"]
    percentile: Annotated[float, Field(gt=0, le=100)]
    bound: Annotated[float, Field(ge=1)] | None


Threshold = Annotated[
    AutoThreshold | NoThreshold | StaticThreshold | DynamicThreshold,
    OneOf,
    by_group("sampler/threshold"),
]
