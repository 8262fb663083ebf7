"""A process' share of a step: its batch on the device, and in parts."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.train.examples import Batch


def parted(batch: Batch, parts: int) -> Iterator[Batch]:
    """The batch in equal parts, one after another."""
    size = next(len(value) for value in batch.values() if isinstance(value, Tensor)) // parts
    for i in range(parts):
        rows = slice(i * size, (i + 1) * size)
        yield {
            name: value.rows(rows) if isinstance(value, Cond) else value[rows]
            for name, value in batch.items()
        }


def more(parts: int, size: int) -> int | None:
    """At least twice as many equal parts of `size` examples; None if they are single already."""
    return next((n for n in range(2 * parts, size + 1) if size % n == 0), None)


def move(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch with its pictures, noise and conditions on the device, in float64 if that is asked.

    Times, which are what a batch holds in float64, stay on the CPU: their coefficients are computed
    there, and not every device has that type.
    """
    wide = dtype if dtype == torch.float64 else None
    moved: Batch = {}
    for name, value in batch.items():
        if isinstance(value, Tensor) and value.dtype != torch.float64:
            floating = value.is_floating_point()
            value = value.to(device, wide if floating else None, non_blocking=True)
        moved[name] = value.to(device, wide) if isinstance(value, Cond) else value
    return moved
