"""Autoencoders: pictures -> features -> a bottleneck -> pictures.

With patch 1, widths 128 256 512 512, encoder blocks 2, decoder blocks 3 and a middle it has Stable
Diffusion's shape (Rombach et al., arXiv:2112.10752). With patch 4 and one width it works at a
quarter of the resolution throughout, which costs a small part of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from dmtool.nn.bottlenecks import Bottled, Bottleneck, Fsq, Kl, Plain, Sparse, Vq
from dmtool.nn.layers import Attention, ResBlock, Upsample

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
    """Args: the bottleneck makes the kind; for the rest see `conf/vae/`. `widths` has one entry a
    level, from the picture to the latent."""

    def __init__(
        self,
        bottleneck: Bottleneck,
        *,
        patch: int,
        widths: Sequence[int],
        encoder_blocks: int,
        decoder_blocks: int,
        middle: bool,
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
        encoder += [nn.Conv2d(deep, bottleneck.features, 3, padding=1)]
        encoder += [nn.Conv2d(bottleneck.features, bottleneck.features, 1)]
        self.encoder = nn.Sequential(*encoder)

        width = bottleneck.width
        decoder: list[nn.Module] = [nn.Conv2d(width, width, 1)]
        decoder += [nn.Conv2d(width, deep, 3, padding=1)]
        decoder += [Middle(deep, groups)] if middle else []
        before = deep
        for i, width in enumerate(reversed(widths)):
            decoder += _blocks(before, width, decoder_blocks, groups)
            decoder += [Upsample(width, width)] if i < len(widths) - 1 else []
            before = width
        decoder += [nn.GroupNorm(groups, before, EPS), nn.SiLU()]
        decoder += [nn.Conv2d(before, colours, 3, padding=1)]
        self.decoder = nn.Sequential(*decoder)
        self.bottleneck = bottleneck

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
    def last(self) -> Tensor:
        """The weights of the decoder's last layer."""
        return cast(nn.Conv2d, self.decoder[-1]).weight

    @property
    def regions(self) -> list[nn.Module]:
        """The repeated blocks."""
        layers = [*self.encoder, *self.decoder]
        return [layer for layer in layers if isinstance(layer, ResBlock | Middle)]

    def features(self, x: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] -> what the bottleneck takes, [B, features, h, w]."""
        features: Tensor = self.encoder(F.pixel_unshuffle(self._typed(x), self.patch))
        return features

    def encode(self, x: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] -> their code, [B, C, H / f, W / f]."""
        return self.bottleneck.code(self.features(x))

    def decode(self, code: Tensor) -> Tensor:
        """Codes [B, C, h, w] -> pictures [B, 3, f h, f w], about [-1, 1]."""
        return self._decoded(self.bottleneck.embed(code))

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Bottled]:
        """Pictures, and standard normal noise of the latents' shape -> reconstructions, and what
        the bottleneck made of them."""
        bottled = self.bottleneck(self.features(x), noise)
        return self._decoded(bottled.z), bottled

    def _decoded(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(self.decoder(self._typed(z)), self.patch)

    def _typed(self, x: Tensor) -> Tensor:
        """In the weights' type."""
        return x.to(next(self.parameters()).dtype)


def kl_autoencoder(*, latent_channels: int, free_bits: float = 0.0, **shape: Any) -> Autoencoder:
    """The variational autoencoder."""
    return Autoencoder(Kl(latent_channels, free_bits), **shape)


def plain_autoencoder(*, latent_channels: int, **shape: Any) -> Autoencoder:
    """Without any bound on its code."""
    return Autoencoder(Plain(latent_channels), **shape)


def sparse_autoencoder(
    *,
    latent_channels: int,
    k: int | None,
    rate: float | None = None,
    pace: float = 0.0,
    **shape: Any,
) -> Autoencoder:
    """With a code of few values."""
    return Autoencoder(Sparse(latent_channels, k, rate, pace), **shape)


def fsq_autoencoder(*, levels: Sequence[int], **shape: Any) -> Autoencoder:
    """With a code of rounded values."""
    return Autoencoder(Fsq(levels), **shape)


def vq_autoencoder(
    *,
    latent_channels: int,
    codes: int,
    cosine: bool,
    decay: float = 0.0,
    restart: float = 0.0,
    **shape: Any,
) -> Autoencoder:
    """With a book of codes."""
    book = Vq(latent_channels, codes, cosine=cosine, decay=decay, restart=restart)
    return Autoencoder(book, **shape)


KINDS: dict[str, Callable[..., Autoencoder]] = {
    "ae": plain_autoencoder,
    "kl": kl_autoencoder,
    "sparse": sparse_autoencoder,
    "fsq": fsq_autoencoder,
    "vq": vq_autoencoder,
}
"""Of the arguments that a card states, by its kind; those with a default serve training alone."""
