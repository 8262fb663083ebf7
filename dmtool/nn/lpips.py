"""The networks of LPIPS (Zhang et al., arXiv:1801.03924), by the names of torchvision's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of the input in [-1, 1], as LPIPS has them."""


Layer = tuple[int, int, int, int, int] | int
"""A convolution (in, out, kernel, stride, padding) with a ReLU, or a max-pool (kernel)."""


@dataclass(frozen=True)
class Shape:
    """`taps`: the layers, ReLUs counted, whose outputs are compared; `least`: the smallest side."""

    layers: tuple[Layer, ...]
    taps: tuple[int, ...]
    least: int


def _vgg(*stages: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Stages of (channels in, channels out, convolutions), a max-pool between them."""
    layers: list[Layer] = []
    for before, channels, count in stages:
        layers += [2] if layers else []
        layers += [(i, channels, 3, 1, 1) for i in (before, *[channels] * (count - 1))]
    return tuple(layers)


SHAPES = {
    "alex": Shape(
        layers=((3, 64, 11, 4, 2), 3, (64, 192, 5, 1, 2), 3, (192, 384, 3, 1, 1),
                (384, 256, 3, 1, 1), (256, 256, 3, 1, 1)),
        taps=(1, 4, 7, 9, 11),
        least=31,
    ),
    "vgg": Shape(
        layers=_vgg((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3)),
        taps=(3, 8, 15, 22, 29),
        least=16,
    ),
}  # fmt: skip
"""AlexNet and VGG16 up to their last convolution."""


class LPIPSFeatures(nn.Module):
    """Pictures [B, 3, H, W] in [-1, 1] -> the maps [B, C, h, w] after five layers."""

    shift: Tensor
    scale: Tensor

    def __init__(self, network: str) -> None:
        super().__init__()
        self.shape = SHAPES[network]
        layers: list[nn.Module] = []
        for layer in self.shape.layers:
            if isinstance(layer, int):
                layers.append(nn.MaxPool2d(layer, 2))
            else:
                layers += [nn.Conv2d(*layer), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Take torchvision's weights; those of its classifier are left aside."""
        mine = {name: value for name, value in state.items() if name.startswith("features.")}
        self.load_state_dict(mine)

    def forward(self, x: Tensor) -> list[Tensor]:
        if min(x.shape[-2:]) < self.shape.least:
            raise ValueError(f"pictures of {self.shape.least} pixels or more, not {x.shape[-2:]}")
        x, maps = (x - self.shift) / self.scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.shape.taps:
                maps.append(x)
        return maps
