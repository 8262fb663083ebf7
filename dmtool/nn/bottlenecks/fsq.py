"""Finite scalar quantisation (Mentzer et al., arXiv:2309.15505): no book, no state, no collapse."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dmtool.nn.bottlenecks.base import Bottled, DiscreteBottleneck

MARGIN = 1e-3
"""By which features go beyond the outermost levels, as in the paper's code."""


class Fsq(DiscreteBottleneck):
    """Each channel is bounded and rounded to one of its `levels`, even steps in [-1, 1].

    The code is what is bounded and not yet rounded, so that it can also be generated as numbers.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.features = self.width = len(levels)
        self.vocabulary = math.prod(levels)
        counts = torch.tensor(levels)
        half = (counts - 1) * (1 + MARGIN) / 2
        offset = torch.where(counts % 2 == 0, 0.5, 0.0)
        basis = torch.cat([torch.ones(1, dtype=torch.int64), counts.cumprod(0)[:-1]])
        for name, value in {
            "reach": half, "offset": offset, "shift": (offset / half).atanh(),
            "steps": (counts // 2).float(), "basis": basis, "levels": counts,
        }.items():  # fmt: skip
            shape = value if name in ("basis", "levels") else value[:, None, None]
            self.register_buffer(name, shape, persistent=False)

    reach: Tensor
    offset: Tensor
    shift: Tensor
    steps: Tensor
    basis: Tensor
    levels: Tensor

    def forward(self, features: Tensor, noise: Tensor) -> Bottled:
        code = self.code(features)
        return Bottled(code + (self.embed(code) - code).detach())

    def code(self, features: Tensor) -> Tensor:
        """[B, C, h, w], in about [-1, 1]."""
        return ((features + self.shift).tanh() * self.reach - self.offset) / self.steps

    def embed(self, code: Tensor) -> Tensor:
        least = -self.steps
        most = self.levels[:, None, None] - 1 - self.steps
        return (code * self.steps).round().clamp(least, most) / self.steps

    def ids(self, code: Tensor) -> Tensor:
        digits = (self.embed(code) * self.steps + self.steps).round().long()
        return (digits * self.basis[:, None, None]).sum(1)

    def of_ids(self, ids: Tensor) -> Tensor:
        digits = ids[:, None] // self.basis[:, None, None] % self.levels[:, None, None]
        return (digits - self.steps) / self.steps
