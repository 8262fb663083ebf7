"""Pictures by their rows, in order, so many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from dmtool.data.pictures import Pictures

T = TypeVar("T")


def take(pictures: Pictures, rows: Sequence[int]) -> Tensor:
    """The pictures of some rows, uint8 [B, 3, H, W]."""
    return torch.stack([pictures[row, row]["image"] for row in rows])


def batches(
    pictures: Pictures, rows: Sequence[int], size: int
) -> Iterator[tuple[list[int], Tensor]]:
    """(rows, uint8 [B, 3, H, W]) of `size` of the rows at once."""
    for start in range(0, len(rows), size):
        part = list(rows[start : start + size])
        yield part, take(pictures, part)


def in_order(
    pictures: Pictures, size: int, count: int | None = None
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of all pictures, or of `count` evenly spread ones."""
    return batches(pictures, evenly(range(len(pictures)), count or len(pictures)), size)


def evenly(items: Sequence[T], count: int) -> list[T]:
    """`count` items evenly spread, or all if there are no more."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
