"""A small transformer encoder of captions, trained together with the noise predictor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmtool.nn.layers import attention


class TextTransformer(nn.Module):
    """Token ids -> text states, by pre-norm transformer blocks (arXiv:2002.04745).

    `vocabulary` is the number of token ids, `max_length` the longest L, `heads` divides `width`.
    """

    def __init__(
        self, vocabulary: int, width: int, depth: int, heads: int, max_length: int
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.empty(max_length, width))
        self.blocks = nn.ModuleList(TextBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        for weight in (self.token.weight, self.position):
            nn.init.normal_(weight, std=0.02)

    @property
    def regions(self) -> list[nn.Module]:
        """The repeated blocks."""
        return list(self.blocks)

    @property
    def units(self) -> list[nn.Module]:
        """See `Backbone.units`."""
        return list(self.blocks)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids [B, L], mask [B, L] (True = a token) -> states [B, L, width], pooled [B, width].

        The pooled vector is the mean of the tokens' states. Padding has states of zero and never
        changes those of the tokens.
        """
        if ids.shape[1] > len(self.position):
            raise ValueError(f"{ids.shape[1]} tokens are more than the {len(self.position)} known")
        states = self.token(ids) + self.position[: ids.shape[1]]
        for block in self.blocks:
            states = block(states, mask)
        states = self.norm(states) * mask[..., None]
        return states, states.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class TextBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x = x + self.out(attention(q, k, v, mask).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))
