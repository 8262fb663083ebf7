"""No bottleneck but the number of channels."""

from __future__ import annotations

from torch import Tensor

from dmtool.nn.bottlenecks.base import Bottled, Bottleneck


class Plain(Bottleneck):
    """The code is what the encoder says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = self.width = channels

    def forward(self, features: Tensor, noise: Tensor) -> Bottled:
        return Bottled(features)

    def code(self, features: Tensor) -> Tensor:
        return features

    def embed(self, code: Tensor) -> Tensor:
        return code
