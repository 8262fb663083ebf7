"""The states of all captions, encoded once, kept on disk, and read as padded batches.

Captions have few tokens, so states are kept ragged, one caption after another. The captions are
ordered by their number of characters, so that batches hold little padding. A shard has

    values   [T, D] float16 (float32 if it does not fit), the states of its captions' T tokens; or
             the token ids [T] of an encoder that is learned with the network
    offsets  [R + 1]: its caption r has values[offsets[r]:offsets[r + 1]]
    pooled   [R, P] float32, of frozen encoders
    cut      [R] bool, which captions were too long

and of frozen encoders `values_moments` [2, D] and `pooled_moments` [2, P], float64: the mean, and
the sum of squared deviations from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.files.digests import digest
from dmtool.files.shards import Shards, Tensors, compact, filled
from dmtool.text.encoder import Encoded, TextEncoder, batched, checked

FORMAT = 3
SAMPLED = 256
"""Captions at most whose lengths are looked at beforehand."""


@dataclass(frozen=True, eq=False)
class States:
    """The conditions of N captions, by their index; -1 is the null caption.

    `rows` [N + 1] says where each caption stands in `shards`, the null caption last; no shards are
    those of unconditional models.
    """

    shards: Shards | None
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows) - 1

    def cond(self, indices: Sequence[int] | Tensor) -> Cond:
        """B indices -> states [B, L, D] (float32; or ids [B, L]), mask [B, L], pooled [B, P]."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        if index.numel() and (index.min() < -1 or index.max() >= len(self)):
            raise IndexError(f"caption {index.tolist()} of {len(self)} (-1 is the null caption)")
        if self.shards is None:
            return Cond()
        return batched([self.caption(i) for i in index.tolist()])

    def caption(self, index: int) -> Encoded:
        """The states or ids of a caption, on the CPU."""
        assert self.shards is not None
        shard, row = self.shards.place(int(self.rows[index]))
        start, stop = shard["offsets"][row : row + 2].tolist()
        values = shard["values"][start:stop]
        pooled = shard["pooled"][row] if "pooled" in shard else None
        return Encoded(values.float() if values.is_floating_point() else values, pooled)

    def statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation of each channel, over distinct captions.

        Of a frozen encoder: `states` [D], over their tokens, and `pooled` [P]; else nothing.
        """
        if self.shards is None or not len(self.shards):
            return {}
        first, _ = self.shards.place(0)
        names = {"states": "values", "pooled": "pooled"}
        return {
            said: _merged(self.shards.column(name), self.shards.column(f"{name}_moments"))
            for said, name in names.items()
            if f"{name}_moments" in first
        }


def cached_states(encoder: TextEncoder, captions: Sequence[str]) -> States:
    """The states of `captions` and of the null caption, read from the cache or put there.

    The cache is addressed by the set of captions and by the encoder's weights and config, so order,
    repetition and the place of the weights do not matter. Captions that were cut are reported, also
    of what was there. All processes that call this encode together.
    """
    distinct = sorted({*captions, ""}, key=lambda caption: (len(caption), caption))
    position = {caption: i for i, caption in enumerate(distinct)}
    rows = torch.tensor([position[caption] for caption in [*captions, ""]])
    if not encoder.dim:
        return States(None, rows)
    checked(distinct)
    key = {"format": FORMAT, "encoder": _identity(encoder), "captions": digest(distinct)}
    size, encode = _row_bytes(encoder, distinct), partial(_encode, encoder, distinct)
    shards = filled("text", key, len(distinct), size, encode, _finished)
    cut = torch.cat(shards.column("cut")).nonzero().flatten().tolist()
    encoder.report(len(cut), distinct[cut[0]] if cut else "")
    return States(shards, rows)


def _encode(encoder: TextEncoder, captions: list[str], rows: range) -> Tensors:
    tokens, lost = encoder.clipped([captions[row] for row in rows])
    states, pooled = zip(*encoder.each(tokens), strict=True)
    values = torch.cat(states).cpu()
    cut = torch.zeros(len(tokens), dtype=torch.bool)
    cut[lost] = True
    tensors = {
        "lengths": torch.tensor([*map(len, states)]),
        "values": values if encoder.trainable else compact(values),
        "cut": cut,
    }
    vectors = [each for each in pooled if each is not None]
    return tensors | ({"pooled": torch.stack(vectors).cpu()} if vectors else {})


def _finished(tensors: Tensors) -> Tensors:
    """A shard: where its captions stand, and the moments of what frozen encoders gave."""
    lengths = tensors.pop("lengths")
    tensors["offsets"] = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    for name in ("values", "pooled"):
        if name in tensors and tensors[name].is_floating_point():
            tensors[f"{name}_moments"] = _moments(tensors[name])
    return tensors


def _row_bytes(encoder: TextEncoder, distinct: Sequence[str]) -> int:
    """About the bytes of a caption, by some of them, evenly spread over all lengths."""
    tokens, _ = encoder.clipped(distinct[:: -(-len(distinct) // SAMPLED)])
    longest = -(-sum(map(len, tokens)) // len(tokens))
    return 4 * encoder.pooled_dim + longest * (8 if encoder.trainable else 2 * encoder.dim)


def _moments(rows: Tensor) -> Tensor:
    """The mean and the sum of squared deviations of rows [N, D], [2, D] in float64."""
    parts = rows.split(4096)
    mean = torch.stack([part.double().sum(0) for part in parts]).sum(0) / len(rows)
    squares = torch.stack([(part.double() - mean).square().sum(0) for part in parts]).sum(0)
    return torch.stack([mean, squares])


def _merged(rows: list[Tensor], moments: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [D] of all rows, by the moments of their shards."""
    weights = torch.tensor([*map(len, rows)]).double()[:, None] / sum(map(len, rows))
    means, squares = torch.stack(moments).unbind(1)
    mean = (weights * means).sum(0)
    within = squares.sum(0) / sum(map(len, rows))
    between = (weights * (means - mean).square()).sum(0)
    return mean.float(), (within + between).sqrt().float()


def _identity(encoder: TextEncoder) -> dict[str, Any]:
    """What states depend on: the card without the place of the weights."""
    card = encoder.card()
    config = {name: value for name, value in card["config"].items() if name != "name"}
    return {**config, "sha256": card["sha256"], "tokenizer": card["tokenizer"]}
