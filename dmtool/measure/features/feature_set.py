"""The features of a set of pictures, or what others have left of them: the sides of a distance."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmtool.errors import UserError
from dmtool.files import shards
from dmtool.measure.distances.frechet import Moments
from dmtool.measure.features.features import FeatureExtractor, extract
from dmtool.measure.features.sets import PictureSet, Undecodable
from dmtool.processes import ALONE, Group

T = TypeVar("T")

READERS = 4  # threads that decode pictures
AHEAD = 16  # pictures decoded ahead of the network
BLOCK = 8  # chunks whose moments are taken at once


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """What is known of one set's features: rows [n, d] in chunks, or their moments alone.

    `n` is None if statistics do not say it. `facts` is for JSON, `notes` are sentences that belong
    beside the figure.
    """

    n: int | None
    chunks: list[Tensor] | None
    known: Moments | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    keys: list[str] | None = None

    @property
    def names(self) -> list[str]:
        """What tells single pictures apart: their keys, or their numbers."""
        if self.keys is not None:
            return self.keys
        rows = 0 if self.chunks is None else sum(map(len, self.chunks))
        return [str(row) for row in range(rows)]

    @property
    def rows(self) -> NDArray[np.float32] | None:
        """All features [n, d] in memory, float32; None of statistics alone."""
        return None if self.chunks is None else torch.cat(self.chunks).numpy()

    @property
    def rows_below_dim(self) -> bool:
        """Whether there are rows, and fewer of them than features."""
        if self.chunks is None:
            return False
        return sum(len(chunk) for chunk in self.chunks) < self.chunks[0].shape[1]

    def moments(self, group: Group = ALONE) -> Moments:
        """Their moments, taken by all processes together; whole on the main one."""
        if self.chunks is None:
            assert self.known is not None
            return self.known
        return merged(group.gather(_part(group.share(_blocks(self.chunks)), self.chunks[0])))


def of(
    pictures: PictureSet, extractor: FeatureExtractor, batch_size: int, notes: Sequence[str] = ()
) -> FeatureSet:
    """The features of `pictures`, extracted once, by all processes together, and kept in the cache.

    The cache is addressed by the pictures' bytes and the extractor's description. The chunks are
    read from it when they are used. `notes` join those on the pictures. A UserError names all
    pictures that cannot be decoded: leaving them out would change the figure.
    """
    key = {"pictures": pictures.digest, "extractor": extractor.describe(), **pictures.colours}

    def encode(rows: range) -> dict[str, Tensor]:
        images = ahead(pictures.__getitem__, rows)
        try:
            return {"features": torch.from_numpy(extract(extractor, images, batch_size))}
        except Undecodable as error:
            raise UserError(error.explain()) from error

    filled = shards.filled("features", key, len(pictures), 4 * extractor.dim, encode)
    return FeatureSet(
        len(pictures),
        [part for chunk in filled.column("features") for part in chunk.split(shards.ROWS)],
        facts=pictures.facts,
        notes=[*pictures.notes, *notes],
        keys=pictures.keys,
    )


def ahead(make: Callable[[int], T], items: Iterable[int]) -> Iterator[T]:
    """`make` of each item in order, some of them made beforehand in threads."""
    with ThreadPoolExecutor(READERS) as pool:
        waiting: deque[Future[T]] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def merged(parts: Sequence[Moments]) -> Moments:
    """All parts together; of none at all, no moments of no features."""
    whole = Moments.empty(len(parts[0].mean) if parts else 0)
    for part in parts:
        whole.merge(part)
    return whole


def _blocks(chunks: list[Tensor]) -> list[list[Tensor]]:
    return [chunks[i : i + BLOCK] for i in range(0, len(chunks), BLOCK)]


def _part(blocks: Sequence[list[Tensor]], like: Tensor) -> Moments:
    part = Moments.empty(like.shape[1])
    for block in blocks:
        part.update(torch.cat(block).numpy())
    return part
