"""The configs of commands that use what was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.schemas.base import Count, Fraction, From, Listed, Natural, OneOf, Positive, Schema
from dmtool.schemas.extractors import Extractor
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


Metric = Literal[
    "fd", "floor", "spread", "kid", "manifold", "retrieval",
    "infinity", "mind", "cmmd", "inception_score",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EvalFid(Use):
    """`dmtool eval-fid`: pictures for `count` captions of a split (null: all of them)."""

    metrics: Annotated[list[Metric], Listed]
    split: Literal["train", "val", "test"]
    count: Count | None
    extractor: Extractor


@dataclass(frozen=True, kw_only=True)
class PackagedPerceptual(Schema):
    """A distance of EfficientNet-Lite0's features, by its own name."""

    kind: Literal["effnet_lite0"]


@dataclass(frozen=True, kw_only=True)
class Lpips(Schema):
    """LPIPS 0.1; `backbone` and `linear`: paths, or null for the usual places."""

    kind: Literal["lpips"]
    network: Literal["alex", "vgg"]
    backbone: str | None
    linear: str | None


Perceptual = Annotated[PackagedPerceptual | Lpips, OneOf]


@dataclass(frozen=True, kw_only=True)
class EvalDecoder(Machine):
    """What is made of `count` real pictures of a split (null: all of them), beside them."""

    dtype: Literal["auto", "fp32", "bf16", "fp16"]
    artifact: str
    batch_size: Count
    split: Literal["train", "val", "test"]
    count: Count | None
    extractor: Extractor
    perceptual: Perceptual


@dataclass(frozen=True, kw_only=True)
class EvalVae(EvalDecoder):
    """`dmtool eval-vae`."""


@dataclass(frozen=True, kw_only=True)
class EvalUpsampler(EvalDecoder):
    """`dmtool eval-upsampler`; `augmentation`: null is the upsampler's own."""

    augmentation: Fraction | None
    sampler: Sampler


@dataclass(frozen=True, kw_only=True)
class EvalMemory(Use):
    """`dmtool eval-memory`: pictures for `count` captions of a split, and their neighbours.

    `threshold`: the cosine of features from which two pictures are near duplicates.
    """

    split: Literal["train", "val", "test"]
    count: Count | None
    extractor: Extractor
    threshold: Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class FindDuplicates(Schema):
    """`dmtool duplicates`: pictures of `resolution` pixels, alike from a cosine of `threshold`."""

    data: Data
    resolution: Count
    seed: Natural
    device: str
    batch_size: Count
    extractor: Extractor
    threshold: Annotated[float, Field(gt=0, le=1)]


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


class Stats(Schema):
    """`dmtool stats`: the statistics of a folder's features."""

    extractor: Extractor
    device: str
    batch_size: Count
    timeout: Positive


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
