"""The optimizers, one schema a kind: no kind has an option that it does not use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import Fraction, Natural, NonNegative, OneOf, Positive, Schema

Decay = Annotated[float, Field(ge=0, lt=1)]
"""What an average keeps of itself at each step."""


@dataclass(frozen=True, kw_only=True)
class OptimBase(Schema):
    """What all kinds share; see `conf/optim/_common.yaml`."""

    lr: Positive
    layers: dict[str, NonNegative] | None
    betas: tuple[Decay, Decay]
    eps: Positive
    weight_decay: NonNegative
    clip: Positive
    warmup: Natural


@dataclass(frozen=True, kw_only=True)
class Scheduled(OptimBase):
    """The learning rate falls with progress to `final` times itself."""

    schedule: Literal["constant", "cosine", "linear"]
    final: Fraction


@dataclass(frozen=True, kw_only=True)
class AdamWOptim(Scheduled):
    kind: Literal["adamw"]


@dataclass(frozen=True, kw_only=True)
class Adam8bitOptim(Scheduled):
    """AdamW with its state in eight bits (arXiv:2110.02861); needs bitsandbytes."""

    kind: Literal["adam8bit"]


@dataclass(frozen=True, kw_only=True)
class MuonOptim(Scheduled):
    """`matrices`: those of the linear layers, or `all`, those of the inner convolutions too."""

    kind: Literal["muon"]
    matrices: Literal["linear", "all"]
    muon_lr: Positive
    momentum: Decay


@dataclass(frozen=True, kw_only=True)
class ScheduleFreeOptim(OptimBase):
    """AdamW whose steps are averaged, in place of a schedule (arXiv:2405.15682)."""

    kind: Literal["schedule_free"]


Optim = Annotated[AdamWOptim | Adam8bitOptim | MuonOptim | ScheduleFreeOptim, OneOf]
