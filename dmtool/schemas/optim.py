"""The optimizers, one schema a kind: no kind has an option that it does not use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from dmtool.schemas.base import Fraction, Natural, NonNegative, OneOf, Positive, Schema


@dataclass(frozen=True, kw_only=True)
class OptimBase(Schema):
    """What all kinds share; see `conf/optim/_common.yaml`."""

    lr: Positive
    betas: tuple[Fraction, Fraction]
    eps: Positive
    weight_decay: NonNegative
    clip: Positive
    warmup: Natural
    schedule: Literal["constant", "cosine", "linear"]
    final: Fraction


@dataclass(frozen=True, kw_only=True)
class AdamWOptim(OptimBase):
    kind: Literal["adamw"]


@dataclass(frozen=True, kw_only=True)
class MuonOptim(OptimBase):
    """`matrices`: those of the linear layers, or `all`, those of the inner convolutions too."""

    kind: Literal["muon"]
    matrices: Literal["linear", "all"]
    muon_lr: Positive
    momentum: Fraction


Optim = Annotated[AdamWOptim | MuonOptim, OneOf]
