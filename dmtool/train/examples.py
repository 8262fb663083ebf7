"""Training examples' random numbers, and pictures that are looked at in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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


def in_order(
    pictures: Pictures, batch_size: int, count: int | None = None
) -> Iterator[tuple[list[int], Tensor]]:
    """(rows, uint8 [B, 3, H, W]) of all pictures, or of `count` evenly spaced ones."""
    count = min(count or len(pictures), len(pictures))
    chosen = [i * len(pictures) // count for i in range(count)]
    for start in range(0, count, batch_size):
        rows = chosen[start : start + batch_size]
        yield rows, torch.stack([pictures[row, row]["image"] for row in rows])


@dataclass(frozen=True)
class Fixed:
    """Rows of a set that are measured again and again, with their pictures and captions."""

    rows: list[int]
    captions: list[str]
    pictures: Pictures
    batch_size: int

    def batches(self) -> Iterator[tuple[list[int], list[str], Tensor]]:
        """Rows, captions and pictures uint8 [B, 3, H, W], in order."""
        for start in range(0, len(self.rows), self.batch_size):
            rows = self.rows[start : start + self.batch_size]
            images = torch.stack([self.pictures[row, row]["image"] for row in rows])
            yield rows, self.captions[start : start + self.batch_size], images
