"""Any vision network by path. Its distances compare with those of the very same network only.

So the name bears the weights' sha256 and the size: FD-domain-SHA8@SIZE (features of the pictures'
own domain rank models well, arXiv:2406.18430).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmtool.config.extractors import TorchScriptExtractor, TransformersExtractor
from dmtool.errors import UserError
from dmtool.files.digests import file_digest
from dmtool.measure.features.extractors import build, pretrained
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.features.preparation import Preparation, scaled


class Layer(nn.Module):
    """Pictures -> one of the network's outputs as features [B, d]."""

    def __init__(self, network: Any, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, x: Tensor) -> Tensor:
        out = self.network(pixel_values=x)
        if self.layer == "pooled":
            pooled: Tensor = out.pooler_output
            return pooled.flatten(1)
        tokens: Tensor = out.last_hidden_state
        if tokens.ndim == 4:  # a map [B, d, H, W], of convolutions
            tokens = tokens.flatten(2).mT
        return tokens[:, 0] if self.layer == "cls" else tokens.mean(1)


def torchscript(config: TorchScriptExtractor, device: torch.device) -> FeatureExtractor:
    """A TorchScript file; UserError if it is none, or does not make features of pictures."""
    network, sha256 = script(config.weights)
    return _extractor(config, network, sha256, "the module's output", device)


def transformers(config: TransformersExtractor, device: torch.device) -> FeatureExtractor:
    """A vision model of transformers; UserError if it is none, or has not that layer."""
    model, sha256 = pretrained.read(config.weights, "AutoModel")
    network = Layer(getattr(model, "vision_model", model), config.layer)
    return _extractor(config, network, sha256, f"{config.layer} output", device)


def script(path: str) -> tuple[nn.Module, str]:
    """The TorchScript in the file `path`, and its sha256."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"extractor.weights={path}: there is no such file")
    try:
        return torch.jit.load(file, map_location="cpu"), file_digest(file)
    except RuntimeError as error:
        raise UserError(f"extractor.weights={path} is no TorchScript file") from error


def _extractor(
    config: TorchScriptExtractor | TransformersExtractor,
    network: nn.Module,
    sha256: str,
    layer: str,
    device: torch.device,
) -> FeatureExtractor:
    mean, std = scaled(config.mean, config.std)
    return build.extractor(
        config.kind,
        f"FD-domain-{sha256[:8]}@{config.size}",
        sha256,
        Preparation(config.size, config.resize, mean, std, config.fit),
        network,
        device,
        layer=layer,
    )
