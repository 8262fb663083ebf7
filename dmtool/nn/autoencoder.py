"""The KL autoencoder: pictures -> the mean and log-variance of latents -> pictures.

With patch 1, widths 128 256 512 512, encoder blocks 2, decoder blocks 3 and a middle it has Stable
Diffusion's shape (Rombach et al., arXiv:2112.10752). With patch 4 and one width it works at a
quarter of the resolution throughout, which costs a small part of the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmtool.nn.layers import Attention, ResBlock, Upsample, wide

EPS = 1e-6  # of the norms, as in Stable Diffusion


class Middle(nn.Module):
    """Residual block, single-head self-attention, residual block."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.res1 = ResBlock(width, width, groups, eps=EPS)
        self.norm = nn.GroupNorm(groups, width, EPS)
        self.attention = Attention(width, heads=1, bias=True)
        self.res2 = ResBlock(width, width, groups, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.res1(x)
        tokens = self.attention(self.norm(x).flatten(2).transpose(1, 2))
        return self.res2(x + tokens.transpose(1, 2).unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """A convolution of stride two, padded below and to the right (as in Stable Diffusion)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


def _blocks(width: int, out: int, count: int, groups: int) -> list[nn.Module]:
    return [ResBlock(width if i == 0 else out, out, groups, eps=EPS) for i in range(count)]


class Autoencoder(nn.Module):
    """Args: see `conf/vae/`; `widths` has one entry a level, from the picture to the latent."""

    def __init__(
        self,
        *,
        patch: int,
        widths: Sequence[int],
        encoder_blocks: int,
        decoder_blocks: int,
        middle: bool,
        latent_channels: int,
        groups: int,
    ) -> None:
        super().__init__()
        self.patch = patch
        colours, deep = 3 * patch**2, widths[-1]
        encoder: list[nn.Module] = [nn.Conv2d(colours, widths[0], 3, padding=1)]
        before = widths[0]
        for i, width in enumerate(widths):
            encoder += _blocks(before, width, encoder_blocks, groups)
            encoder += [Downsample(width)] if i < len(widths) - 1 else []
            before = width
        encoder += [Middle(deep, groups)] if middle else []
        encoder += [nn.GroupNorm(groups, deep, EPS), nn.SiLU()]
        encoder += [nn.Conv2d(deep, 2 * latent_channels, 3, padding=1)]
        encoder += [nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)]
        self.encoder = nn.Sequential(*encoder)

        decoder: list[nn.Module] = [nn.Conv2d(latent_channels, latent_channels, 1)]
        decoder += [nn.Conv2d(latent_channels, deep, 3, padding=1)]
        decoder += [Middle(deep, groups)] if middle else []
        before = deep
        for i, width in enumerate(reversed(widths)):
            decoder += _blocks(before, width, decoder_blocks, groups)
            decoder += [Upsample(width, width)] if i < len(widths) - 1 else []
            before = width
        decoder += [nn.GroupNorm(groups, before, EPS), nn.SiLU()]
        decoder += [nn.Conv2d(before, colours, 3, padding=1)]
        self.decoder = nn.Sequential(*decoder)

    @property
    def ends(self) -> tuple[nn.Module, ...]:
        """The convolutions that join the network to pictures and latents."""
        encoder, decoder = list(self.encoder), list(self.decoder)
        return encoder[0], *encoder[-2:], *decoder[:2], decoder[-1]

    @property
    def units(self) -> list[nn.Module]:
        """See `Backbone.units`."""
        kinds = ResBlock, Middle, Upsample
        return [module for module in self.modules() if isinstance(module, kinds)]

    @property
    def regions(self) -> list[nn.Module]:
        """The repeated blocks."""
        layers = [*self.encoder, *self.decoder]
        return [layer for layer in layers if isinstance(layer, ResBlock | Middle)]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, H, W] in [-1, 1] -> mean and log-variance, [B, C, H / f, W / f] each."""
        x = F.pixel_unshuffle(self._typed(x), self.patch)
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, z: Tensor) -> Tensor:
        """Latents [B, C, h, w] -> pictures [B, 3, f h, f w], about [-1, 1]."""
        return F.pixel_shuffle(self.decoder(self._typed(z)), self.patch)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures and standard normal noise of the latents' shape -> a reconstruction from a
        sample of the posterior, and the posterior's mean and log-variance."""
        mean, log_variance = self.encode(x)
        z = mean + torch.exp(wide(log_variance) / 2) * noise
        return self.decode(z), mean, log_variance

    def _typed(self, x: Tensor) -> Tensor:
        """In the weights' type."""
        return x.to(next(self.parameters()).dtype)
