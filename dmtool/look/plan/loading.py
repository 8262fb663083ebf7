"""What it takes to make training examples: pictures are decoded once and remembered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dmtool.config.training import Train
from dmtool.data.pictures import Pictures
from dmtool.train.batch import Batch
from dmtool.train.feed import Place, Shuffled

MOST, SECONDS = 512, 10.0
"""Pictures that are tried, and for how long."""


@dataclass(frozen=True)
class Loading:
    """`decode` is what a picture takes in seconds when it is not remembered, beyond what it takes
    when it is. `share` of all `pictures` are remembered, in `remembered` bytes; `rows` are now."""

    rows: list[int]
    pictures: int
    decode: float
    share: float
    remembered: int

    def seconds(self, seen: int) -> float:
        """What decoding takes in a training that sees so many pictures."""
        decoded = self.share * min(seen, self.pictures) + (1 - self.share) * seen
        return decoded * self.decode

    def memory(self, seen: int) -> int:
        """Bytes of pictures remembered at the end of such a training, beside those of `rows`."""
        rest = max(0, min(seen, self.pictures) - len(self.rows))
        return int(self.remembered * rest / self.pictures)


def loading(feed: Shuffled, config: Train) -> Loading:
    """Make the run's first examples, twice. Worker processes do it beside the training."""
    size = len(feed.examples)
    numbers = range(min(MOST, size))
    parts = [numbers[i : i + 64] for i in range(0, len(numbers), 64)]
    first, done = [], []
    for part in parts:
        first.append(_seconds(feed, part))
        done.append(part)
        if sum(first) > SECONDS:
            break
    again = [_seconds(feed, part) for part in done]
    rows = [row for part in done for _, row in feed.places(part)]
    decode = max(0.0, sum(first) - sum(again)) / len(rows)
    share, remembered = _memory(getattr(feed.examples, "pictures", None), size)
    return Loading(rows, size, 0.0 if config.data.workers else decode, share, remembered)


def _memory(pictures: Pictures | None, size: int) -> tuple[float, int]:
    """The share of all pictures that memory holds, and their bytes."""
    if pictures is None:
        return 1.0, 0
    if not pictures.remembered:
        return 0.0, 0
    mean = sum(each.nbytes for each in pictures.remembered.values()) / len(pictures.remembered)
    room = pictures.config.memory_mb * 2**20
    return min(1.0, room / (mean * size)), int(min(room, mean * size))


def _seconds(feed: Shuffled, numbers: Sequence[int]) -> float:
    begin = time.perf_counter()
    feed.batch(numbers)
    return time.perf_counter() - begin


class Few:
    """A feed of `rows` alone, as if there were no others: the run's are decoded once, and steps
    are measured with pictures that are remembered."""

    def __init__(self, feed: Shuffled, rows: list[int]) -> None:
        self.feed, self.rows = feed, rows

    def places(self, numbers: Sequence[int]) -> list[Place]:
        return [(k, self.rows[row % len(self.rows)]) for k, row in self.feed.places(numbers)]

    def batch(self, numbers: Sequence[int]) -> Batch:
        return self.feed.examples.batch(self.places(numbers))
