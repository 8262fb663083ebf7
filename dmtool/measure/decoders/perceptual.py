"""How alike two pictures look to a network: LPIPS, or its packaged stand-in under its own name.

Both are the distance of Zhang et al. (arXiv:1801.03924, eq. 1) between the maps of several layers:
each place's features scaled to length 1, squared differences, weighted by channel, the mean over
places, the sum over layers. LPIPS has learned weights by channel; the stand-in has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dmtool.config.evaluating import Lpips, PackagedPerceptual, Perceptual
from dmtool.config.extractors import EffNetExtractor
from dmtool.data.transforms import to_tensor
from dmtool.errors import UserError
from dmtool.measure.features import extractors, weights
from dmtool.measure.features.weights import Weights
from dmtool.nn.lpips import SHAPES, LPIPSFeatures

EPSILON = 1e-10
CPU_CHUNK = 4  # pictures at once: their activations stay in the processor's cache

BACKBONES = {
    "alex": Weights(
        file="alexnet-owt-7be5be79.pth",
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        size=244_408_911,
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "vgg": Weights(
        file="vgg16-397923af.pth",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        size=553_433_881,
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
}
"""torchvision's weights."""

ADDRESS = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
    "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/{}.pth"
)
LINEAR = {
    "alex": Weights(
        file="LPIPS_v0.1_alex-df73285e.pth",
        url=ADDRESS.format("alex"),
        size=6_009,
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    "vgg": Weights(
        file="LPIPS_v0.1_vgg-a78928a0.pth",
        url=ADDRESS.format("vgg"),
        size=7_289,
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
}
"""What LPIPS 0.1 has learned, as in the package `lpips`: `lpips/weights/v0.1`."""


@dataclass(frozen=True)
class PerceptualDistance:
    """uint8 pictures [B, 3, H, W], twice -> their distances [B], float64 on the CPU; 0 if equal."""

    name: str
    protocol: dict[str, Any]
    device: torch.device
    maps: Callable[[Tensor], Sequence[Tensor]]
    weights: Sequence[Tensor] | None = None

    @torch.inference_mode()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        size = CPU_CHUNK if self.device.type == "cpu" else len(a)
        parts = zip(a.split(size), b.split(size), strict=True)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = [distance(self.maps(x), self.maps(y), self.weights) for x, y in parts]
        return torch.cat(found).cpu().double()

    def describe(self) -> dict[str, Any]:
        """All that defines this distance, for JSON."""
        return {"name": self.name, "protocol": self.protocol}


def distance(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[Tensor] | None) -> Tensor:
    """The distances [B] between the maps [B, C, h, w] of layers; `weights` [C] of each, or 1."""
    total = torch.zeros(len(a[0]), device=a[0].device)
    for number, (x, y) in enumerate(zip(a, b, strict=True)):
        squares = (_unit(x) - _unit(y)) ** 2
        if weights is not None:
            squares = squares * weights[number][:, None, None]
        total = total + squares.sum(1).mean((1, 2))
    return total


def load(config: Perceptual, resolution: int, device: torch.device) -> PerceptualDistance:
    """The distance that `config.kind` names; UserError if its weights are missing or others, or
    if pictures of `resolution` pixels are too small for it."""
    return KINDS[type(config)](config, resolution, device)


def _unit(x: Tensor) -> Tensor:
    return x / ((x**2).sum(1, keepdim=True).sqrt() + EPSILON)


def _lpips(config: Lpips, resolution: int, device: torch.device) -> PerceptualDistance:
    least = SHAPES[config.network].least
    if resolution < least:
        raise UserError(
            f"LPIPS with perceptual.network={config.network} needs pictures of {least} pixels or "
            f"more, these have {resolution}: take perceptual=effnet_lite0"
        )
    backbone, linear = BACKBONES[config.network], LINEAR[config.network]
    network = LPIPSFeatures(config.network)
    network.load_backbone(_read(backbone, config.backbone, "backbone"))
    network.eval().requires_grad_(False).to(device)
    learned = _read(linear, config.linear, "linear")
    return PerceptualDistance(
        name=f"LPIPS[{config.network},v0.1]",
        protocol={
            "input": "native size, [-1, 1]",
            "sha256": {"backbone": backbone.sha256, "linear": linear.sha256},
        },
        device=device,
        maps=lambda pictures: network(to_tensor(pictures.to(device))),
        weights=[learned[f"lin{i}.model.1.weight"].flatten().to(device) for i in range(5)],
    )


def _read(file: Weights, path: str | None, part: str) -> dict[str, Any]:
    return weights.read(weights.find([file], path, f"perceptual.{part}")[0])


def _effnet_lite0(_: PackagedPerceptual, __: int, device: torch.device) -> PerceptualDistance:
    extractor = extractors.load(EffNetExtractor(kind="effnet_lite0", weights=None), device)
    network = next(part for part in extractor.network.modules() if hasattr(part, "_blocks"))
    return PerceptualDistance(
        name="EffNetLite0-feature distance",
        protocol={
            "extractor": extractor.describe(),
            "layers": "the last block of each size, 112 to 7 places wide, channels unweighted",
        },
        device=device,
        maps=lambda pictures: _effnet_maps(network, extractor.inputs(pictures)),
    )


def _effnet_maps(network: Any, x: Tensor) -> list[Tensor]:
    """The map before each block that makes it smaller, and the last one."""
    x, maps = network._swish(network._bn0(network._conv_stem(x))), []
    for block in network._blocks:
        after = block(x)
        if after.shape[-1] < x.shape[-1]:
            maps.append(x)
        x = after
    return [*maps, x]


KINDS: dict[type, Callable[[Any, int, torch.device], PerceptualDistance]] = {
    PackagedPerceptual: _effnet_lite0,
    Lpips: _lpips,
}
