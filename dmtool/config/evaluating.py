"""The configs of commands that measure what was trained, beside eval-fid and eval-nll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import ArtifactName, Count, Fraction, Location, Name, OneOf, Schema
from dmtool.config.extractors import Extractor
from dmtool.config.parts import Data
from dmtool.config.runtime import Machine
from dmtool.config.sampling import Sampler
from dmtool.config.using import OnData, Tuned

Cosine = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class PackagedPerceptual(Schema):
    """A distance of EfficientNet-Lite0's features, by its own name."""

    kind: Literal["effnet_lite0"]


@dataclass(frozen=True, kw_only=True)
class Lpips(Schema):
    """LPIPS 0.1; `backbone` and `linear`: paths, or null for the usual places."""

    kind: Literal["lpips"]
    network: Literal["alex", "vgg"]
    backbone: Location | None
    linear: Location | None


Perceptual = Annotated[PackagedPerceptual | Lpips, OneOf]


@dataclass(frozen=True, kw_only=True)
class EvalDecoder(Machine, OnData):
    """What is made of `count` real pictures of a split (null: all of them), beside them."""

    dtype: Literal["auto", "fp32", "bf16", "fp16"]
    artifact: ArtifactName
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
class EvalMemory(Tuned, OnData):
    """`dmtool eval-memory`: pictures for `count` captions of a split, and their neighbours.

    `threshold`: the cosine of features from which two pictures are near duplicates, of which
    `max_train` training pictures at most (null: all) are looked at.
    """

    split: Literal["train", "val", "test"]
    count: Count | None
    max_train: Count | None
    extractor: Extractor
    threshold: Cosine


@dataclass(frozen=True, kw_only=True)
class FindDuplicates(Schema):
    """`dmtool duplicates`: pictures of `resolution` pixels, alike from a cosine of `threshold`."""

    data: Data
    resolution: Count
    device: Name
    batch_size: Count
    extractor: Extractor
    threshold: Cosine


@dataclass(frozen=True, kw_only=True)
class EvalAlign(Tuned, OnData):
    """`dmtool eval-align`: pictures for `count` captions of a split (null: all of them).

    Or for the set `prompts`, with `each` prompts a task; `clip`: a CLIP model's folder, or null.
    """

    prompts: Literal["captions", "toy-compositional"]
    split: Literal["train", "val", "test"]
    count: Count | None
    each: Count
    clip: Location | None
    extractor: Extractor
