"""What a denoising autoencoder is shown in place of pictures, one schema a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import Count, OneOf, Positive, Schema, Share, by_group


@dataclass(frozen=True, kw_only=True)
class NoCorruption(Schema):
    kind: Literal["none"]


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Schema):
    """`strength` is the largest standard deviation, of values in [-1, 1]."""

    kind: Literal["gaussian"]
    strength: Positive


@dataclass(frozen=True, kw_only=True)
class Masking(Schema):
    """Squares of `patch` pixels turn grey: at most the share `strength` of them."""

    kind: Literal["mask"]
    strength: Share
    patch: Count


@dataclass(frozen=True, kw_only=True)
class Blur(Schema):
    """`strength` is the largest standard deviation of a Gaussian filter, in pixels."""

    kind: Literal["blur"]
    strength: Positive


@dataclass(frozen=True, kw_only=True)
class Jpeg(Schema):
    """`quality` is the lowest, of 1 to 95."""

    kind: Literal["jpeg"]
    quality: Annotated[int, Field(ge=1, le=95)]


Corruption = Annotated[
    NoCorruption | GaussianNoise | Masking | Blur | Jpeg, OneOf, by_group("corruption")
]
