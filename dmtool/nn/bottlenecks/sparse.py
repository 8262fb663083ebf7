"""Codes of few values: by a penalty that seeks its own weight, or by keeping the largest."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dmtool.nn.bottlenecks.base import Bottled, Bottleneck
from dmtool.nn.precision import wide


class Sparse(Bottleneck):
    """Values are rectified; of each position's the `k` largest stay (Makhzani & Frey,
    arXiv:1312.5663), or all of them.

    `l1` is the penalty: the mean of the values. With a `rate` its weight (a factor of the one that
    is configured) moves until that share of the values is not 0: by exp(pace (found - rate) / rate)
    a step, within a factor of 1 + pace.
    """

    def __init__(
        self, channels: int, k: int | None, rate: float | None = None, pace: float = 0.0
    ) -> None:
        super().__init__()
        self.features = self.width = channels
        self.k, self.rate, self.pace = k, rate, pace
        self.register_buffer("weight", torch.ones(()))

    weight: Tensor

    def forward(self, features: Tensor, noise: Tensor) -> Bottled:
        z = self.code(features)
        active = (z > 0).detach()
        values = torch.tensor(float(active.numel()), device=z.device)
        sums = {"active": active.sum().float(), "values": values}
        l1 = self.weight * wide(z).mean()
        return Bottled(z, {"l1": l1}, {"active": active.float().mean()}, sums if self.rate else {})

    def code(self, features: Tensor) -> Tensor:
        z = features.relu()
        if self.k is None:
            return z
        least = z.topk(self.k, dim=1).values[:, -1:]
        return torch.where(z >= least, z, 0)

    def embed(self, code: Tensor) -> Tensor:
        return code

    def settle(self, sums: Mapping[str, Tensor]) -> None:
        if self.rate is None:
            return
        excess = (sums["active"] / sums["values"] - self.rate) / self.rate
        factor = torch.exp(self.pace * excess).clamp(1 / (1 + self.pace), 1 + self.pace)
        self.weight.mul_(factor).clamp_(1e-6, 1e6)
