"""Extractors, one schema a kind: the networks whose features are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from dmtool.config.base import Count, Location, Natural, Positive, Schema
from dmtool.config.kinds import Kinds

Resize = Literal["tf1", "bilinear", "bilinear_antialias", "bicubic", "pillow_bicubic"]
Mode = Literal["tf1", "pytorch-fid", "clean", "tm"]
Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class InceptionExtractor(Schema):
    """FID's own network; `mode` is the library to agree with, `weights` a path or null."""

    kind: Literal["inception"]
    mode: Mode
    weights: Location | None


@dataclass(frozen=True, kw_only=True)
class EffNetExtractor(Schema):
    """The packaged EfficientNet-Lite0; `weights`: a path, or null for the package's."""

    kind: Literal["effnet_lite0"]
    weights: Location | None


@dataclass(frozen=True, kw_only=True)
class RandomExtractor(Schema):
    """FID's network with weights drawn from `seed`."""

    kind: Literal["random"]
    seed: Natural


@dataclass(frozen=True, kw_only=True)
class DinoExtractor(Schema):
    """DINOv2: `weights` is a transformers folder, a name in the hub's cache or a TorchScript."""

    kind: Literal["dinov2"]
    weights: Location


@dataclass(frozen=True, kw_only=True)
class ClipExtractor(Schema):
    """CLIP's picture tower: `weights` is a transformers folder or a name in the hub's cache."""

    kind: Literal["clip"]
    weights: Location


@dataclass(frozen=True, kw_only=True)
class Own(Schema):
    """Any network: `size` in pixels, `mean` and `std` of pixels in [0, 1]."""

    weights: Location
    size: Count
    resize: Resize
    fit: Literal["squash", "crop"]
    mean: Triple
    std: tuple[Positive, Positive, Positive]


@dataclass(frozen=True, kw_only=True)
class TorchScriptExtractor(Own):
    """A TorchScript module, pictures [B, 3, size, size] -> features [B, d]."""

    kind: Literal["torchscript"]


@dataclass(frozen=True, kw_only=True)
class TransformersExtractor(Own):
    """A vision model of transformers; `layer` says which of its outputs are the features."""

    kind: Literal["transformers"]
    layer: Literal["pooled", "cls", "mean"]


Extractor = Annotated[
    Schema,
    Kinds(
        "extractor",
        InceptionExtractor,
        EffNetExtractor,
        RandomExtractor,
        DinoExtractor,
        ClipExtractor,
        TorchScriptExtractor,
        TransformersExtractor,
    ),
]
