"""Which examples a step is made of, as a function of the number of pictures seen alone.

Example k of a run is what its feed says: a resumed run, and one on another number of processes,
sees the same examples, and no last batch is uneven.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dmtool.errors import STOPS
from dmtool.rng import generator
from dmtool.train.batch import Batch

Place = tuple[int, int]
"""(k, row): the example's number in the run, and its row in the data."""


class Examples(Protocol):
    """Data of so many rows: batches by place, with all their random numbers, on the CPU."""

    def __len__(self) -> int: ...

    def batch(self, places: Sequence[Place]) -> Batch: ...


class Feed(Protocol):
    """Training data without an end. What example k is follows from k."""

    def places(self, numbers: Sequence[int]) -> list[Place]:
        """Where these examples stand in the data."""
        ...

    def batch(self, numbers: Sequence[int]) -> Batch:
        """These examples, on the CPU."""
        ...


class Shuffled:
    """Finite data in an order of its own for each epoch: example k of the run is element k mod N of
    the permutation drawn from (seed, k div N)."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self.examples, self.seed = examples, seed

    def places(self, numbers: Sequence[int]) -> list[Place]:
        return [place(k, len(self.examples), self.seed) for k in numbers]

    def batch(self, numbers: Sequence[int]) -> Batch:
        return self.examples.batch(self.places(numbers))


@lru_cache(maxsize=2)
def permutation(size: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch: a permutation of range(size)."""
    return torch.randperm(size, generator=generator(seed, "order", epoch))


def place(k: int, size: int, seed: int) -> Place:
    """Where example k of the run stands in data of `size` rows."""
    return k, int(permutation(size, seed, k // size)[k % size])


class Positions:
    """The examples' numbers of each share of one process, from picture `start` on, without end.

    Step m of process r takes numbers (m * world + r) * b ... of the run.
    """

    def __init__(self, start: int, share: int, rank: int, world: int) -> None:
        self.start, self.share, self.rank, self.world = start, share, rank, world

    def __iter__(self) -> Iterator[range]:
        first = self.start + self.rank * self.share
        while True:
            yield range(first, first + self.share)
            first += self.world * self.share


def batches(feed: Feed, positions: Positions, workers: int, pin: bool) -> Iterator[Batch]:
    """An endless stream of shares, made by `workers` processes (0: in this one)."""
    loader: DataLoader[Any] = DataLoader(
        _Items(feed),
        batch_sampler=positions,  # type: ignore[arg-type]
        collate_fn=_whole,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_heed_no_signals,
    )
    return iter(loader)


class _Items(Dataset[Any]):
    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def __getitems__(self, numbers: Sequence[int]) -> Batch:
        return self.feed.batch(numbers)


def _heed_no_signals(worker: int) -> None:
    """The training process decides when to stop, also if a signal goes to all processes."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def _whole(batch: Any) -> Any:
    return batch
