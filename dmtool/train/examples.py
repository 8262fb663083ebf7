"""Which example is seen when, as a function of the number of pictures seen alone.

Example k of a run is element k mod N of the permutation drawn from (seed, k div N): a resumed run,
and one on another number of processes, sees the same examples, and no last batch is uneven.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dmtool.data.pictures import Pictures
from dmtool.errors import STOPS
from dmtool.rng import generator

Place = tuple[int, int]
"""(k, row): the example's number in the run, and its row in the data."""

Batch = dict[str, Any]


class Examples(Protocol):
    """A stage's training data: batches by place, with all their random numbers, on the CPU."""

    def __len__(self) -> int: ...

    def __getitems__(self, places: list[Place]) -> Batch: ...


@lru_cache(maxsize=2)
def permutation(size: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch: a permutation of range(size)."""
    return torch.randperm(size, generator=generator(seed, "order", epoch))


def place(k: int, size: int, seed: int) -> Place:
    """Where example k of the run stands in data of `size` rows."""
    return k, int(permutation(size, seed, k // size)[k % size])


class Positions:
    """The places of each micro-batch of one process, from picture `start` on, without end.

    Micro-step m of process r takes positions (m * world + r) * b ... of the global batch.
    """

    def __init__(self, size: int, seed: int, start: int, micro: int, rank: int, world: int) -> None:
        self.size, self.seed, self.start = size, seed, start
        self.micro, self.rank, self.world = micro, rank, world

    def __iter__(self) -> Iterator[list[Place]]:
        first = self.start + self.rank * self.micro
        while True:
            yield [place(k, self.size, self.seed) for k in range(first, first + self.micro)]
            first += self.world * self.micro


def batches(examples: Examples, positions: Positions, workers: int, pin: bool) -> Iterator[Batch]:
    """An endless stream of micro-batches, made by `workers` processes (0: in this one)."""
    loader: DataLoader[Any] = DataLoader(
        _Items(examples),
        batch_sampler=positions,
        collate_fn=_whole,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_heed_no_signals,
    )
    return iter(loader)


class _Items(Dataset[Any]):
    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitems__(self, places: list[Place]) -> Batch:
        return self.examples.__getitems__(places)


def _heed_no_signals(worker: int) -> None:
    """The training process decides when to stop, also if a signal goes to all processes."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def _whole(batch: Any) -> Any:
    return batch


def uniforms(seed: int, purpose: str, places: list[Place], count: int) -> Tensor:
    """Uniform numbers [B, count], each row drawn from its example's own key."""
    return torch.stack(
        [torch.rand(count, generator=generator(seed, purpose, k)) for k, _ in places]
    )


def normals(seed: int, purpose: str, places: list[Place], shape: tuple[int, ...]) -> Tensor:
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
