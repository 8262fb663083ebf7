"""Training examples' random numbers, and pictures that are looked at in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from dmtool.data.batches import batches
from dmtool.data.pictures import Pictures
from dmtool.rng import generator
from dmtool.train.feed import Place


def uniforms(seed: int, purpose: str, places: Sequence[Place], count: int) -> Tensor:
    """Uniform numbers [B, count], each row drawn from its example's own key."""
    return torch.stack(
        [torch.rand(count, generator=generator(seed, purpose, k)) for k, _ in places]
    )


def normals(seed: int, purpose: str, places: Sequence[Place], shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers [B, *shape], each row drawn from its example's own key."""
    return torch.stack(
        [torch.randn(shape, generator=generator(seed, purpose, k)) for k, _ in places]
    )


@dataclass(frozen=True)
class Fixed:
    """Rows of a set that are measured again and again, with their pictures and captions."""

    rows: list[int]
    captions: list[str]
    pictures: Pictures
    batch_size: int

    def batches(self) -> Iterator[tuple[list[int], list[str], Tensor]]:
        """Rows, captions and pictures uint8 [B, 3, H, W], in order."""
        captions = iter(self.captions)
        for rows, images in batches(self.pictures, self.rows, self.batch_size):
            yield rows, list(islice(captions, len(rows))), images
