"""A critic of what an autoencoder makes, one schema a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import Count, Natural, NonNegative, OneOf, Schema, by_group
from dmtool.config.optim import Optim
from dmtool.config.parts import divisible


@dataclass(frozen=True, kw_only=True)
class NoCritic(Schema):
    kind: Literal["none"]


@dataclass(frozen=True, kw_only=True)
class PatchGame(Schema):
    """A PatchGAN critic; each of its `widths` halves the picture.

    It learns from `learns_at` pictures on and counts from `counts_at` on, with `weight`; `adaptive`
    multiplies that by the ratio of the two losses' gradients at the decoder's last layer.
    """

    kind: Literal["patch"]
    loss: Literal["hinge", "non_saturating", "least_squares", "relativistic"]
    weight: NonNegative
    adaptive: bool
    learns_at: Natural
    counts_at: Natural
    lecam: NonNegative
    widths: Annotated[list[Count], Field(min_length=1)]
    groups: Count
    optim: Optim

    def __post_init__(self) -> None:
        divisible("adversarial.widths", self.widths, "adversarial.groups", self.groups)
        if self.counts_at <= self.learns_at:
            raise ValueError(
                f"counts_at={self.counts_at} is not after learns_at={self.learns_at}: a critic "
                "that has not learned ruins what it judges"
            )


Adversarial = Annotated[NoCritic | PatchGame, OneOf, by_group("adversarial")]
