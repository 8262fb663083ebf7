"""A normal posterior for each value, kept near the standard normal (Kingma & Welling,
arXiv:1312.6114), as Stable Diffusion's autoencoder has it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dmtool.nn.bottlenecks.base import Bottled, Bottleneck
from dmtool.nn.precision import wide


class Kl(Bottleneck):
    """The code is the posterior's mean. `kl` is the divergence in nats, over the batch, of which
    each channel of a picture has `free_bits` free (Kingma et al., arXiv:1606.04934, for one
    picture alone)."""

    def __init__(self, channels: int, free_bits: float = 0.0) -> None:
        super().__init__()
        self.features, self.width = 2 * channels, channels
        self.free = free_bits * math.log(2)

    def posterior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, [B, C, h, w] each."""
        mean, log_variance = features.chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def forward(self, features: Tensor, noise: Tensor) -> Bottled:
        mean, log_variance = self.posterior(features)
        z = mean + torch.exp(wide(log_variance) / 2) * noise
        mean, log_variance = wide(mean), wide(log_variance)
        nats = mean**2 + log_variance.exp() - 1 - log_variance
        if self.free:
            nats = nats.sum((2, 3)).clamp(min=2 * self.free)
        return Bottled(z, {"kl": nats.sum() / 2})

    def code(self, features: Tensor) -> Tensor:
        return self.posterior(features)[0]

    def embed(self, code: Tensor) -> Tensor:
        return code
