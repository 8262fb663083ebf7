"""DINOv2 (Oquab et al., arXiv:2304.07193): the features that agree best with people's eyes.

Stein et al., arXiv:2306.04675: ViT-L/14, the class token after the last norm, pictures squashed to
224 x 224 by Pillow's bicubic in 8 bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dmtool.config.extractors import DinoExtractor
from dmtool.errors import UserError
from dmtool.measure.features.extractors import build, own, pretrained
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.features.preparation import IMAGENET, Preparation, scaled

PREPARE = Preparation(224, "pillow_bicubic", *scaled(*IMAGENET))
LARGE = (1024, 24, 14)
"""Width, depth and patch of ViT-L/14."""


class ClassToken(nn.Module):
    """Pictures -> the class token [B, d] after the last norm."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        token: Tensor = self.network(pixel_values=x).last_hidden_state[:, 0]
        return token


def load(config: DinoExtractor, device: torch.device) -> FeatureExtractor:
    """FD-DINOv2 for ViT-L/14; a network of another size says so in the name."""
    if pretrained.is_script(config.weights):
        network, sha256 = own.script(config.weights)
        name = "FD-DINOv2"
    else:
        model, sha256 = pretrained.read(config.weights, "AutoModel")
        network, name = ClassToken(model), named(model.config, config.weights)
    found = build.extractor(
        config.kind, name, sha256, PREPARE, network, device, layer="class token, after the norm"
    )
    if name == "FD-DINOv2" and found.dim != LARGE[0]:
        raise UserError(
            f"{config.weights} makes {found.dim} features: FD-DINOv2 is that of ViT-L/14, "
            f"{LARGE[0]}; take extractor=torchscript for another network"
        )
    return found


def named(config: Any, place: str) -> str:
    """The distance's name by the network's configuration; UserError if it is no DINOv2."""
    if config.model_type != "dinov2":
        raise UserError(
            f"{place} is a network of type {config.model_type!r}, not dinov2; take "
            "extractor=transformers for it"
        )
    size = (config.hidden_size, config.num_hidden_layers, config.patch_size)
    return "FD-DINOv2" if size == LARGE else "FD-DINOv2-{}x{}/{}".format(*size)
