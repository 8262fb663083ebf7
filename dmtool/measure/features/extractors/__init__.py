"""The extractors there are: `load` makes the one that a config names.

| kind | weights | distance |
|---|---|---|
| `inception` | the two published files, by sha256 | `FID[MODE]` |
| `effnet_lite0` | the package's, by sha256 | `FD-EffNetLite0@224` |
| `random` | drawn from a seed | `FD-random-SEED` |
| `dinov2` | ViT-L/14 by path | `FD-DINOv2` (other sizes of ViT say which) |
| `clip` | any CLIP by path | `FD-CLIP-ViT-L/14@224`, as the network is |
| `torchscript`, `transformers` | any network by path | `FD-domain-SHA@SIZE` |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dmtool.config.extractors import (
    ClipExtractor,
    DinoExtractor,
    EffNetExtractor,
    Extractor,
    InceptionExtractor,
    RandomExtractor,
    TorchScriptExtractor,
    TransformersExtractor,
)
from dmtool.config.kinds import Builders
from dmtool.measure.features.extractors import clip, dino, effnet, inception, own
from dmtool.measure.features.features import FeatureExtractor

__all__ = ["load"]


KINDS: Builders[Callable[[Any, torch.device], FeatureExtractor]] = Builders("extractor", {
    InceptionExtractor: inception.published,
    RandomExtractor: inception.random,
    EffNetExtractor: effnet.load,
    DinoExtractor: dino.load,
    ClipExtractor: clip.load,
    TorchScriptExtractor: own.torchscript,
    TransformersExtractor: own.transformers,
})  # fmt: skip


def load(config: Extractor, device: torch.device | str) -> FeatureExtractor:
    """The extractor that a config names, ready on `device`.

    Raises UserError if its weights are missing or not the published ones, or if a package of the
    extra `demo` is not installed.
    """
    return KINDS.of(config)(config, torch.device(device))
