"""The configs of commands that use what was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from dmtool.schemas.base import Count, Fraction, From, Schema
from dmtool.schemas.guidance import Guidance
from dmtool.schemas.optim import Optim
from dmtool.schemas.parts import Data
from dmtool.schemas.sampling import Sampler
from dmtool.schemas.training import Machine


@dataclass(frozen=True, kw_only=True)
class Upsample(Schema):
    """`use`: auto takes the run's upsampler, if any; `augmentation`: null is its own default."""

    use: Literal["auto", "always", "never"]
    artifact: str
    augmentation: Fraction | None
    sampler: Sampler


@dataclass(frozen=True, kw_only=True)
class FromUse(Schema):
    unet: str | None
    upsampler: str | None
    bad: str | None


@dataclass(frozen=True, kw_only=True)
class Use(Machine):
    """What all commands that sample share."""

    from_: Annotated[FromUse, From]
    dtype: Literal["auto", "fp32", "bf16", "fp16"]
    artifact: str
    sampler: Sampler
    guidance: Guidance
    upsample: Upsample
    batch_size: Count

    def __post_init__(self) -> None:
        if self.from_.bad is not None and self.guidance.bad is None:
            raise ValueError("from.bad is the run of guidance.bad: name its artifact there, too")


@dataclass(frozen=True, kw_only=True)
class Extractor(Schema):
    """The network whose features are compared; `weights`: a path, or null for the usual place."""

    kind: Literal["effnet_lite0", "inception"]
    weights: str | None


@dataclass(frozen=True, kw_only=True)
class EvalFid(Use):
    """`dmtool eval-fid`: pictures for `count` captions of a split (null: all of them)."""

    split: Literal["train", "val", "test"]
    count: Count | None
    extractor: Extractor


@dataclass(frozen=True, kw_only=True)
class EvalAlign(Use):
    """`dmtool eval-align`: pictures for `count` captions of a split (null: all of them).

    Or for the set `prompts`, with `each` prompts a task; `clip`: a CLIP model's folder, or null.
    """

    prompts: Literal["captions", "toy-compositional"]
    split: Literal["train", "val", "test"]
    count: Count | None
    each: Count
    clip: str | None
    extractor: Extractor


@dataclass(frozen=True, kw_only=True)
class Lengths(Schema):
    """`dmtool ema`: other lengths of the average of a run's stage."""

    run: str
    root: str
    stage: Literal["vae", "unet", "upsampler"]
    device: str


@dataclass(frozen=True, kw_only=True)
class HasData(Schema):
    """The data section alone, as `dmtool data` takes it."""

    data: Data


@dataclass(frozen=True, kw_only=True)
class HasOptim(Schema):
    """The optimizer's section alone."""

    optim: Optim
