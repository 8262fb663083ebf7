"""How hard a noise level is: the logarithm of its expected loss, learned beside the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmtool.nn.layers import sinusoid


class Uncertainty(nn.Module):
    """u of a level: one linear layer over its waves, as in EDM2 (Karras et al., arXiv:2312.02696,
    eq. 14 to 17). It begins as 0, where the loss is as it would be without it.

    The layer is a vector of its own, so no optimizer takes it for a matrix between features, and
    it has no weight decay.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, level: Tensor) -> Tensor:
        """Levels [B] from 0 to 1000 -> u [B], in the weights' type."""
        waves = sinusoid(level, len(self.weight)).to(self.weight)
        return (waves * self.weight).sum(1)
