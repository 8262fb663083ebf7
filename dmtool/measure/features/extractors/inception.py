"""FID's Inception in the ways that the field's libraries feed it, and with random weights.

The modes differ in how a picture comes to 299 x 299 and in its normalisation alone, which moves
FID by 1e-3 (`pytorch-fid` from `tf1`) up to a quarter (`clean` from `tf1`): a figure without its
mode says little (Parmar et al., arXiv:2104.11222).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dmtool.config.extractors import InceptionExtractor, RandomExtractor
from dmtool.measure.features import weights
from dmtool.measure.features.extractors import build
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.features.preparation import Preparation, same
from dmtool.measure.features.weights import Weights
from dmtool.nn.inception import FIDInception, drawn

SIZE = 299
POOL3 = "pool3"


class Way(NamedTuple):
    """How a library feeds the network, and from which of the published files."""

    prepare: Preparation
    files: tuple[str, ...]


TENSORFLOW = same(128), same(128)
MODES = {
    "tf1": Way(Preparation(SIZE, "tf1", *TENSORFLOW), ("STATE", "SCRIPT")),
    "pytorch-fid": Way(Preparation(SIZE, "bilinear", same(127.5), same(127.5)), ("STATE",)),
    "clean": Way(Preparation(SIZE, "bicubic", *TENSORFLOW), ("SCRIPT",)),
    "tm": Way(Preparation(SIZE, "bilinear_antialias", *TENSORFLOW), ("STATE",)),
}


def published(config: InceptionExtractor, device: torch.device) -> FeatureExtractor:
    """FID[MODE] with the published weights, by path, from a cache or from their address.

    Raises UserError if they are not there, or not those that the mode's library takes.
    """
    way = MODES[config.mode]
    path, file = weights.find(_files(way), config.weights, "extractor.weights")
    network, classifier = _scripted(path) if file.script else _network(weights.read(path))
    return build.extractor(
        config.kind,
        f"FID[{config.mode}]",
        file.sha256,
        way.prepare,
        network,
        device,
        layer=POOL3,
        mode=config.mode,
        classifier=classifier,
    )


def random(config: RandomExtractor, device: torch.device) -> FeatureExtractor:
    """FD-random-SEED: a network that has learned nothing, for pictures far from ImageNet's.

    Naeem et al., arXiv:2002.09797, section 5.
    """
    state = drawn(config.seed)
    network, _ = _network(state)
    return build.extractor(
        config.kind,
        f"FD-random-{config.seed}",
        _digest(state),
        Preparation(SIZE, "bicubic", *TENSORFLOW),
        network,
        device,
        layer=POOL3,
    )


def _files(way: Way) -> list[Weights]:
    return [getattr(weights, f"FID_INCEPTION_{name}") for name in way.files]


def _network(state: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """The network of a state dict, and its head without the bias."""
    network = FIDInception()
    network.load_state_dict(state)
    head = nn.Linear(network.fc.in_features, network.fc.out_features, bias=False)
    head.weight = network.fc.weight
    return build.fused(network, {"conv": "bn"}), head


class Layers(nn.Module):
    """The TorchScript's layers up to pool3, without the resize and the normalisation in it."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features.flatten(1)


def _scripted(path: Path) -> tuple[nn.Module, None]:
    return Layers(torch.jit.load(path, map_location="cpu").eval().layers), None


def _digest(state: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(name.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()
