"""CLIP's picture tower (Radford et al., arXiv:2103.00020): features without ImageNet's classes.

Kynkäänniemi et al., arXiv:2203.06026: the projected embedding, before it is brought to length 1.
The shorter side is resized and the middle cropped, as in CLIP's own code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dmtool.config.extractors import ClipExtractor
from dmtool.errors import UserError
from dmtool.measure.features.extractors import build, pretrained
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.features.preparation import CLIP, Preparation, scaled

SIZES = {(768, 12): "B", (1024, 24): "L", (1280, 32): "H"}
"""The names of Vision Transformers by width and depth."""


class Embedding(nn.Module):
    """Pictures -> the projected embedding [B, d]."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        embedding: Tensor = self.network(pixel_values=x).image_embeds
        return embedding


def load(config: ClipExtractor, device: torch.device) -> FeatureExtractor:
    """FD-CLIP-ViT-L/14@224, or as the network by path is; UserError if it is no CLIP."""
    model, sha256 = pretrained.read(config.weights, "CLIPVisionModelWithProjection")
    vision = model.config
    name = SIZES.get((vision.hidden_size, vision.num_hidden_layers))
    size = name or f"{vision.hidden_size}x{vision.num_hidden_layers}"
    if vision.model_type != "clip_vision_model":
        raise UserError(f"{config.weights} is no CLIP; take extractor=transformers for it")
    return build.extractor(
        config.kind,
        f"FD-CLIP-ViT-{size}/{vision.patch_size}@{vision.image_size}",
        sha256,
        Preparation(vision.image_size, "pillow_bicubic", *scaled(*CLIP), fit="crop"),
        Embedding(model),
        device,
        layer="projected embedding, not normalised",
    )
