"""Networks that turn pictures into the features whose distributions are compared.

An extractor is defined by its weights (sha256) and by how a picture reaches it (resize,
normalisation, layer): change one of them and distances are no longer comparable, so all of them
stand in its name or its description. "FID" is the name for FID's own network alone. What there is
stands in `dmtool.measure.features.extractors`, which makes one from a config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmtool.device import autocast
from dmtool.errors import UserError

CPU_CHUNK = 4  # pictures at once: their activations stay in the processor's cache


@dataclass(frozen=True)
class FeatureExtractor:
    """uint8 pictures -> features; `name` is that of the Fréchet distance on these features.

    `classifier` makes logits of features, where the network has a head.
    """

    kind: str
    name: str
    sha256: str
    dim: int
    protocol: dict[str, str]
    device: torch.device
    prepare: Callable[[Tensor], Tensor]
    network: nn.Module
    classifier: nn.Module | None = None

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

    @torch.inference_mode()
    def logits(self, features: Tensor) -> Tensor:
        """What the network's classifier makes of its features [B, dim]: logits [B, classes].

        Of FID's Inception without the head's bias, as every Inception score takes them (1,008
        classes). UserError if the network has no classifier.
        """
        if self.classifier is None:
            raise UserError(
                f"the network of {self.name} has no classifier: take extractor=inception with "
                "extractor.mode=tf1 (the one of Inception scores), or effnet_lite0"
            )
        found: Tensor = self.classifier(features.to(self.device))
        return found

    def describe(self) -> dict[str, Any]:
        """All that defines this extractor, for JSON."""
        names = ("kind", "name", "sha256", "dim", "protocol")
        return {name: getattr(self, name) for name in names}


def extract(
    extractor: FeatureExtractor, images: Iterable[Tensor], batch_size: int
) -> NDArray[np.float32]:
    """Features [N, dim] of a stream of uint8 RGB `images` [3, H, W], `batch_size` at once.

    They may be of different sizes: each is resized alone.
    """
    inputs = (extractor.inputs(image[None]) for image in images)
    features = [torch.empty(0, extractor.dim)]
    while batch := list(islice(inputs, batch_size)):
        features.append(extractor.features(torch.cat(batch)).cpu())
    return torch.cat(features).numpy()
