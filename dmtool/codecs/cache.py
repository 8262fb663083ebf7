"""The latents of a data set's pictures, encoded once and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dmtool.codecs.codec import Codec
from dmtool.codecs.space import continuous
from dmtool.device import autocast
from dmtool.files.shards import Shards, Tensors, compact, filled

FORMAT = 2
PIXELS = 2**20
"""Pixels encoded at once."""


class Cached:
    """Row r is the latent [C, h, w] (float32) of picture r, read from the cache."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    def __getitem__(self, row: int) -> Tensor:
        shard, within = self.shards.place(row)
        return shard["latents"][within].float()


def cached(
    codec: Codec,
    pictures: Callable[[range], Tensor],
    count: int,
    pixels: int,
    key: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype,
) -> Cached:
    """The latents of `count` pictures, encoded once by all processes together, kept as float16.

    `pictures` gives those of some rows, [B, 3, H, W] in [-1, 1], of H W `pixels`. `key` names what
    they depend on (fingerprint, split, transform); the codec and the computing dtype are added
    here.
    """
    # not the training's batch size, for that would change the last digits
    size = max(1, PIXELS // pixels)

    def encode(rows: range) -> Tensors:
        batches = (pictures(rows[i : i + size]).to(device) for i in range(0, len(rows), size))
        return {"latents": compact(torch.cat([encoded(batch).cpu() for batch in batches]))}

    def encoded(batch: Tensor) -> Tensor:
        with autocast(device, dtype):
            return codec.encode(batch)

    computing = str(dtype).removeprefix("torch.")
    key = {"format": FORMAT, **key, "space": codec.space_id, "dtype": computing}
    space = continuous(codec.space)
    row_bytes = 2 * space.channels * pixels // space.factor**2
    return Cached(filled("latents", key, count, row_bytes, encode))
