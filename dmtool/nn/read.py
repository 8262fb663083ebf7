"""A network that has read the text: it takes keys and values, made once a picture, for states."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmtool.nn.backbone import Backbone
from dmtool.nn.layers import Attention, twin
from dmtool.nn.unet import Block


class Read(Attention):
    """The same attention to a context that holds its keys and values, one after the other, in the
    channels from `start` on."""

    def __init__(self, attention: Attention, start: int) -> None:
        nn.Module.__init__(self)
        self.heads, self.q, self.out = attention.heads, attention.q, attention.out
        self.part = slice(start, start + 2 * attention.k.out_features)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = context[..., self.part].chunk(2, dim=-1)
        return keys, values


def read(network: Backbone, states: Tensor) -> Tensor:
    """What `reading(network)` takes in place of text states [B, L, D]: the keys and values of all
    its blocks, [B, L, K]."""
    states = network.embed_states(states)
    found = [x for block in _blocks(network) for x in block.text_attention.keys_values(states)]
    return torch.cat(found, dim=-1) if found else states[..., :0]


def reading(network: Backbone) -> Backbone:
    """The same network, of the very same weights, that takes what `read` makes of text states."""
    copy, start = twin(network), 0
    copy.embed_states = _as_they_are  # type: ignore[method-assign, assignment]
    for block in _blocks(copy):
        block.text_attention = Read(block.text_attention, start)
        start = block.text_attention.part.stop
    return copy


def _as_they_are(read: Tensor) -> Tensor:
    """In the type that autocast has made them in, too: else each call would convert all of them."""
    return read


def _blocks(network: Backbone) -> list[Block]:
    """Those that attend to text."""
    return [m for m in network.modules() if isinstance(m, Block) and hasattr(m, "text_attention")]
