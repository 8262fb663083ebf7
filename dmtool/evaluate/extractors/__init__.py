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

import torch

from dmtool.evaluate.extractors import clip, dino, effnet, inception, own
from dmtool.evaluate.features import FeatureExtractor
from dmtool.schemas import (
    ClipExtractor,
    DinoExtractor,
    EffNetExtractor,
    Extractor,
    InceptionExtractor,
    RandomExtractor,
    TorchScriptExtractor,
)

__all__ = ["load"]


def load(config: Extractor, device: torch.device | str) -> FeatureExtractor:
    """The extractor that `config.kind` names, ready on `device`.

    Raises UserError if its weights are missing or not the published ones, or if a package of the
    extra `demo` is not installed.
    """
    place = torch.device(device)
    if isinstance(config, InceptionExtractor):
        return inception.published(config, place)
    if isinstance(config, RandomExtractor):
        return inception.random(config, place)
    if isinstance(config, EffNetExtractor):
        return effnet.load(config, place)
    if isinstance(config, DinoExtractor):
        return dino.load(config, place)
    if isinstance(config, ClipExtractor):
        return clip.load(config, place)
    if isinstance(config, TorchScriptExtractor):
        return own.torchscript(config, place)
    return own.transformers(config, place)
