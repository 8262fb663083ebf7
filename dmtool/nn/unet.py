"""A text-conditional U-Net of the Stable Diffusion family.

Residual blocks carry the noise level, transformer blocks attend to the picture itself and to the
text. With patch 1, widths 320 640 1280 1280, blocks 2 2 2 2, depths 1 1 1 0, middle depth 1, eight
heads and 768 text channels it is Stable Diffusion 1.x exactly (859,520,964 parameters).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmtool.nn.backbone import Backbone, Statistics
from dmtool.nn.layers import Attention, FeedForward, ResBlock, Upsample, sinusoid, zero


class Block(nn.Module):
    """Self-attention, attention to the text, feed-forward; each behind a layer norm."""

    def __init__(self, width: int, heads: int, gate: str, text_dim: int | None) -> None:
        super().__init__()
        self.norm1, self.self_attention = nn.LayerNorm(width), Attention(width, heads)
        if text_dim is not None:
            self.norm2, self.text_attention = nn.LayerNorm(width), Attention(width, heads, text_dim)
        self.norm3, self.feed_forward = nn.LayerNorm(width), FeedForward(width, gate)

    def forward(self, x: Tensor, states: Tensor | None, mask: Tensor | None) -> Tensor:
        x = x + self.self_attention(self.norm1(x))
        if states is not None:
            x = x + self.text_attention(self.norm2(x), states, mask)
        return x + self.feed_forward(self.norm3(x))


class Transformer(nn.Module):
    """`depth` blocks over the pixels of a feature map [B, C, H, W], added to it."""

    def __init__(
        self, width: int, depth: int, heads: int, gate: str, groups: int, text_dim: int | None
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.blocks = nn.ModuleList(Block(width, heads, gate, text_dim) for _ in range(depth))
        self.proj_out = zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor, states: Tensor | None, mask: Tensor | None) -> Tensor:
        h = self.proj_in(self.norm(x))
        tokens = h.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens, states, mask)
        return x + self.proj_out(tokens.transpose(1, 2).unflatten(2, h.shape[2:]))


class UNetBlock(nn.Module):
    """A residual block followed by a transformer, if it has one."""

    def __init__(self, res: ResBlock, transformer: Transformer | None) -> None:
        super().__init__()
        self.res, self.transformer = res, transformer

    def forward(
        self, x: Tensor, embedding: Tensor, states: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        x = self.res(x, embedding)
        return x if self.transformer is None else self.transformer(x, states, mask)


class UNet(Backbone):
    """(noisy picture, noise level, text, extras) -> predictions of the picture's shape.

    Args:
        channels: of the noisy picture and of each prediction.
        outputs: predictions, one after another along the channels; the first is that of the
            picture (or of its noise, ...).
        patch: space-to-depth factor at the input, undone at the output.
        widths, blocks, depths: channels, residual blocks and transformer depth of each level.
        middle_depth: transformer depth between the two middle residual blocks.
        heads, groups: of all attention and group norms.
        modulation: `add` or `scale_shift`, see ResBlock.
        gate: `gelu` or `silu`, see FeedForward.
        text_dim: channels of the text states, None for no text.
        pooled_dim: channels of the pooled text vector that is standardised by the buffers
            `pooled_mean` and `pooled_std` and added to the level's embedding; None: there is none.
        text_width: standardise the text states by the buffers `text_mean` and `text_std` and
            project them to this many channels, once for all blocks; None: take them as they are.
        images: channels by name of pictures in `extras`, concatenated to the input.
        levels: names of scalar levels in `extras`, embedded as the noise level is.
        residual: name of the picture in `extras` that the (only) prediction is added to, or None.
    """

    text_mean: Tensor
    text_std: Tensor
    pooled_mean: Tensor
    pooled_std: Tensor

    def __init__(
        self,
        *,
        channels: int,
        patch: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        depths: Sequence[int],
        middle_depth: int,
        heads: int,
        groups: int,
        modulation: str,
        gate: str,
        text_dim: int | None,
        pooled_dim: int | None,
        text_width: int | None,
        dropout: float,
        images: Mapping[str, int],
        levels: Sequence[str],
        residual: str | None,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.patch, self.width, self.images, self.residual = (
            patch,
            widths[0],
            dict(images),
            residual,
        )
        embedding = 4 * widths[0]
        self.embed = _mlp(widths[0], embedding)
        self.embed_levels = nn.ModuleDict({name: _mlp(widths[0], embedding) for name in levels})
        self.embed_pooled: nn.Linear | None = None
        if pooled_dim is not None:
            self.register_buffer("pooled_mean", torch.zeros(pooled_dim))
            self.register_buffer("pooled_std", torch.ones(pooled_dim))
            self.embed_pooled = nn.Linear(pooled_dim, embedding)
        self.embed_text: nn.Linear | None = None
        if text_dim is not None and text_width is not None:
            self.register_buffer("text_mean", torch.zeros(text_dim))
            self.register_buffer("text_std", torch.ones(text_dim))
            self.embed_text = nn.Linear(text_dim, text_width)
            text_dim = text_width

        def res(before: int, after: int) -> ResBlock:
            return ResBlock(before, after, groups, embedding, modulation, dropout)

        def transformer(width: int, depth: int) -> Transformer | None:
            if not depth:
                return None
            return Transformer(width, depth, heads, gate, groups, text_dim)

        inputs = (channels + sum(images.values())) * patch**2
        self.conv_in = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down, self.downsample = nn.ModuleList(), nn.ModuleList()
        skips, width, last = [widths[0]], widths[0], len(widths) - 1
        for i, (after, count, depth) in enumerate(zip(widths, blocks, depths, strict=True)):
            level = nn.ModuleList()
            for _ in range(count):
                level.append(UNetBlock(res(width, after), transformer(after, depth)))
                width = after
                skips.append(width)
            self.down.append(level)
            if i < last:
                self.downsample.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        self.middle = UNetBlock(res(width, width), transformer(width, middle_depth))
        self.middle_res = res(width, width)
        self.up, self.upsample = nn.ModuleList(), nn.ModuleList()
        for i in reversed(range(len(widths))):
            level = nn.ModuleList()
            for _ in range(blocks[i] + 1):
                stage = UNetBlock(
                    res(width + skips.pop(), widths[i]), transformer(widths[i], depths[i])
                )
                level.append(stage)
                width = widths[i]
            self.up.append(level)
            if i > 0:
                self.upsample.append(Upsample(width, width))
        self.norm_out = nn.GroupNorm(groups, width)
        self.conv_out = zero(nn.Conv2d(width, outputs * channels * patch**2, 3, padding=1))

    @property
    def ends(self) -> tuple[nn.Module, ...]:
        """The convolutions that join the network to its input and output."""
        return self.conv_in, self.conv_out

    @property
    def factor(self) -> int:
        return int(self.patch * 2 ** (self.depth - 1))

    @property
    def depth(self) -> int:
        return len(self.down)

    @property
    def units(self) -> list[nn.Module]:
        kinds = ResBlock, Transformer, Block, Upsample
        return [module for module in self.modules() if isinstance(module, kinds)]

    @property
    def regions(self) -> list[nn.Module]:
        levels = [*self.down, *self.up]
        stages = [stage for level in levels for stage in level]
        return [*stages, self.middle, self.middle_res]

    def at(self, level: int) -> list[nn.Module]:
        last = self.depth - 1
        pair = self.down[level], self.up[last - level]
        stages = [stage for side in pair for stage in side]  # type: ignore[attr-defined]
        return [*stages, self.middle] if level == last else stages

    def forward(
        self,
        x: Tensor,
        level: Tensor,
        states: Tensor | None = None,
        mask: Tensor | None = None,
        pooled: Tensor | None = None,
        extras: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        extras = extras or {}
        x = self._typed(x)
        states = None if states is None else self.embed_states(states)
        pooled = None if pooled is None else self._typed(pooled)
        embedding = self._embed(level, pooled, extras)
        h = torch.cat([x, *(extras[name].to(x) for name in self.images)], dim=1)
        h = self.conv_in(F.pixel_unshuffle(h, self.patch))
        skips = [h]
        for i, stages in enumerate(self.down):
            for stage in stages:  # type: ignore[attr-defined]
                h = stage(h, embedding, states, mask)
                skips.append(h)
            if i < len(self.downsample):
                h = self.downsample[i](h)
                skips.append(h)
        h = self.middle_res(self.middle(h, embedding, states, mask), embedding)
        for i, stages in enumerate(self.up):
            for stage in stages:  # type: ignore[attr-defined]
                h = stage(torch.cat([h, skips.pop()], dim=1), embedding, states, mask)
            if i < len(self.upsample):
                h = self.upsample[i](h)
        h = self.conv_out(F.silu(self.norm_out(h)))
        h = F.pixel_shuffle(h, self.patch)
        return h if self.residual is None else h + extras[self.residual]

    def standardise(self, statistics: Statistics) -> None:
        if self.embed_text is not None and "states" in statistics:
            _standardise(self.text_mean, self.text_std, *statistics["states"])
        if self.embed_pooled is not None and "pooled" in statistics:
            _standardise(self.pooled_mean, self.pooled_std, *statistics["pooled"])

    def embed_states(self, states: Tensor) -> Tensor:
        states = self._typed(states)
        if self.embed_text is None:
            return states
        return self.embed_text((states - self.text_mean) / self.text_std)

    def _typed(self, x: Tensor) -> Tensor:
        return x.to(self.conv_in.weight.dtype)

    def _embed(self, level: Tensor, pooled: Tensor | None, extras: Mapping[str, Tensor]) -> Tensor:
        embedding = self.embed(self._typed(sinusoid(level, self.width)))
        for name, layer in self.embed_levels.items():
            embedding = embedding + layer(self._typed(sinusoid(extras[name], self.width)))
        if self.embed_pooled is not None and pooled is not None:
            standard = (pooled - self.pooled_mean) / self.pooled_std
            embedding = embedding + self.embed_pooled(standard)
        return embedding


def _standardise(to_mean: Tensor, to_std: Tensor, mean: Tensor, std: Tensor) -> None:
    to_mean.copy_(mean)
    to_std.copy_(torch.where(std > 1e-4, std, 1.0))


def _mlp(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))
