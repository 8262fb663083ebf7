"""A network that is worse on purpose: positions no longer attend to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from dmtool.nn.backbone import Backbone
from dmtool.nn.layers import Attention, twin
from dmtool.nn.unet import Block


class Identity(Attention):
    """Self-attention whose map is the identity (Ahn et al., arXiv:2403.17377, eq. 12): each
    position [B, L, width] takes its own value, through the layers of the attention it stands
    for."""

    def __init__(self, attention: Attention) -> None:
        nn.Module.__init__(self)
        self.v, self.out = attention.v, attention.out

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        assert context is None
        return self.out(self.v(x))


def perturbed(network: Backbone, levels: Sequence[int]) -> Backbone:
    """The same network, of the very same weights, without self-attention at `levels` of the
    resolution: 0 is the outermost, -1 the innermost.

    Raises ValueError, in a user's words, if there is no such level or no self-attention to lose.
    """
    copy = twin(network)
    depth = network.depth
    absent = [level for level in levels if not -depth <= level < depth]
    if absent:
        raise ValueError(f"there is no level {absent[0]}, only 0 to {depth - 1} (or -1)")
    blocks = [block for level in levels for block in _blocks(copy, level % depth)]
    if not blocks:
        some = [level for level in range(depth) if any(_blocks(network, level))]
        raise ValueError(f"there is no self-attention at {list(levels)}, only at {some}")
    for block in dict.fromkeys(blocks):
        block.self_attention = Identity(block.self_attention)
    return copy


def _blocks(network: Backbone, level: int) -> Iterator[Block]:
    for stage in network.at(level):
        yield from (module for module in stage.modules() if isinstance(module, Block))
