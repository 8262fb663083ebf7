"""The building blocks that the U-Net and the autoencoder share."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmtool.nn.precision import wide

M = TypeVar("M", bound=nn.Module)


def zero(module: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The module with zero weights: a residual branch that begins as nothing."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def twin(module: M) -> M:
    """A module of its own, whose weights are the very same: its parts may be replaced."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return deepcopy(module, shared)


def sinusoid(level: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding [B, width] of levels [B], cosines first (as in Stable Diffusion)."""
    half = width // 2
    level = wide(level)
    exponent = torch.arange(half, device=level.device, dtype=level.dtype) / half
    angles = level[:, None] * torch.exp(-math.log(max_period) * exponent)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention; q is [B, H, L, D], k and v [B, H, S, D], mask [B, S] (True: attend)."""
    if _explicit(q, k):
        return explicit_attention(q, k, v, mask)
    allowed = None if mask is None else mask[:, None, None, :]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


def _explicit(q: Tensor, k: Tensor) -> bool:
    """Whether products of one's own are faster than the fused kernel: on CPUs in half precision.

    Measured by `scripts/bench_attention.py`: 1.2 to 13 times with a gradient, 1.4 to 2.3 times
    without, but for narrow heads over many keys. In float32 the two are within a third of each
    other. Beyond 1,024 x 1,024 scores their memory counts for more.
    """
    half = q.dtype in (torch.bfloat16, torch.float16)
    if q.device.type != "cpu" or not half or q.shape[2] * k.shape[2] > 1024**2:
        return False
    return torch.is_grad_enabled() or q.shape[3] >= 32 or k.shape[2] < 256


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same by two matrix products and a softmax in at least float32."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    return wide(scores).softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Multi-head attention of tokens [B, L, width] over a context [B, S, context] or themselves."""

    def __init__(
        self, width: int, heads: int, context: int | None = None, bias: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=bias)
        self.k = nn.Linear(context or width, width, bias=bias)
        self.v = nn.Linear(context or width, width, bias=bias)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        context = x if context is None else context
        q, k, v = (self._split(y) for y in (self.q(x), *self.keys_values(context)))
        return self.out(attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """What is attended to, both [B, S, width]."""
        return self.k(context), self.v(context)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


GATES: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "silu": F.silu}


class FeedForward(nn.Module):
    """Linear layers with a gate between (Shazeer, arXiv:2002.05202), of four times the width.

    gate: `gelu` is GEGLU, as in Stable Diffusion; `silu` is SwiGLU, far cheaper on a CPU.
    """

    def __init__(self, width: int, gate: str) -> None:
        super().__init__()
        self.gate = GATES[gate]
        self.inner = nn.Linear(width, 8 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.inner(x).chunk(2, dim=-1)
        return self.out(value * self.gate(gate))


class ResBlock(nn.Module):
    """Two convolutions with group norms, modulated by an embedding [B, embedding] if there is one.

    modulation: `add` shifts between the convolutions (Stable Diffusion), `scale_shift` modulates
    the second norm (ADM, arXiv:2105.05233, section 3.1).
    """

    def __init__(
        self,
        channels: int,
        out: int,
        groups: int,
        embedding: int | None = None,
        modulation: str = "add",
        dropout: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.modulation = modulation
        self.norm1 = nn.GroupNorm(math.gcd(groups, channels), channels, eps)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.emb = nn.Linear(embedding, out * (1 + (modulation != "add"))) if embedding else None
        self.norm2 = nn.GroupNorm(groups, out, eps)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self._modulate(h, embedding)
        h = self.conv2(self.dropout(F.silu(h)))
        return self.skip(x) + h

    def _modulate(self, h: Tensor, embedding: Tensor | None) -> Tensor:
        if self.emb is None or embedding is None:
            return self.norm2(h)
        shift = self.emb(F.silu(embedding))[:, :, None, None]
        if self.modulation == "add":
            return self.norm2(h + shift)
        scale, shift = shift.chunk(2, dim=1)
        return self.norm2(h) * (1 + scale) + shift


class Upsample(nn.Module):
    """Nearest-neighbour doubling and a convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
