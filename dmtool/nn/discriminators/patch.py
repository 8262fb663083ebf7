"""A critic of patches (Isola et al., arXiv:1611.07004, PatchGAN), without BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmtool.nn.precision import wide


class PatchCritic(nn.Module):
    """Pictures [B, 3, H, W] -> the mean logit of their patches, [B].

    Each of the `widths` halves the size. What it keeps beside its weights: moving means of its
    logits, and the weight that balances what deceives it against the reconstruction.
    """

    ends: tuple[nn.Module, ...] = ()
    regions: tuple[nn.Module, ...] = ()

    def __init__(self, widths: Sequence[int], groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for i, width in enumerate(widths):
            layers.append(nn.Conv2d(before, width, 4, stride=2, padding=1))
            layers += [nn.GroupNorm(groups, width)] if i else []
            layers.append(nn.LeakyReLU(0.2))
            before = width
        layers.append(nn.Conv2d(before, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)
        for name in ("mean_real", "mean_fake", "balance"):
            self.register_buffer(name, torch.zeros(()))

    mean_real: Tensor
    mean_fake: Tensor
    balance: Tensor

    def forward(self, x: Tensor) -> Tensor:
        logits = wide(self.layers(x.to(next(self.parameters()).dtype)))
        return logits.mean((1, 2, 3))
