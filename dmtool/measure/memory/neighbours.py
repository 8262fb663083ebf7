"""Nearest neighbours among features, and what they say of copying.

Everything is computed in float64 over blocks of `BLOCK` rows: no matrix of all pairs is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

BLOCK = 1024

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class Nearest(NamedTuple):
    """For each of N rows: the Euclidean distance [N] to its nearest row of a gallery, and which."""

    distance: Array
    row: Indices


def nearest(queries: ArrayLike, gallery: ArrayLike) -> Nearest:
    """The nearest row of gallery [M, d] for each row of queries [N, d]; a ValueError if M = 0."""
    return _nearest(np.asarray(queries), np.asarray(gallery), None)


def nearest_other(rows: ArrayLike, chosen: Indices | None = None) -> Nearest:
    """The nearest other row of rows [N, d] for each of them, or of the `chosen` ones, by number; a
    ValueError if N < 2."""
    gallery = np.asarray(rows)
    own = np.arange(len(gallery)) if chosen is None else chosen
    return _nearest(gallery if chosen is None else gallery[own], gallery, own)


def authentic(samples: Nearest, others: Nearest) -> NDArray[np.bool_]:
    """Which samples are further from their nearest training picture than that is from another.

    AuthPct is the percentage of them (Alaa et al., arXiv:2102.08921, section 4.3). `samples` are
    the samples' `nearest` training pictures, `others` those pictures' `nearest_other` [M]. A copy
    is never authentic.
    """
    return samples.distance > others.distance[samples.row]


def closer(a: ArrayLike, b: ArrayLike) -> float:
    """The chance that a value of a [N] is below one of b [M], ties counting half.

    Mann and Whitney's U over N M, as Meehan et al. (arXiv:2004.05675) test for copied data: 0.5
    where the two are alike, 1 where every `a` is below every `b`.
    """
    a, b = np.asarray(a), np.sort(b)
    above = 2 * len(b) - np.searchsorted(b, a, "left") - np.searchsorted(b, a, "right")
    return float(above.mean() / (2 * len(b)))


@dataclass(frozen=True)
class Duplicates:
    """Pairs of rows whose cosine is at least a threshold.

    `pairs` are the closest (i, j, cosine), i < j, closest first; `count` is the number of all;
    `member` [N] says which rows are in one.
    """

    pairs: list[tuple[int, int, float]]
    count: int
    member: NDArray[np.bool_]


def duplicates(features: ArrayLike, threshold: float, most: int) -> Duplicates:
    """All pairs of rows of features [N, d] at a cosine of `threshold` > 0, `most` of them named."""
    rows = np.asarray(features)
    found, count = np.empty(0, PAIR), 0
    member = np.zeros(len(rows), bool)
    for start, a in _blocks(rows):
        for other, b in _blocks(rows[start:], start):
            pairs = _alike(unit(a), unit(b), threshold, start, other)
            count += len(pairs)
            member[pairs["i"]] = member[pairs["j"]] = True
            found = np.sort(np.concatenate([found, pairs]), order=["far", "i", "j"])[:most]
    named = zip(found["i"].tolist(), found["j"].tolist(), (-found["far"]).tolist(), strict=True)
    return Duplicates(list(named), count, member)


PAIR = np.dtype([("far", np.float64), ("i", np.int64), ("j", np.int64)])
"""A pair of rows; `far` is minus their cosine."""


def _alike(a: Array, b: Array, threshold: float, first: int, second: int) -> NDArray[Any]:
    """The pairs of two blocks that begin at rows `first` <= `second`, each pair once."""
    cosines = a @ b.T
    if first == second:
        cosines = np.triu(cosines, 1)
    i, j = np.nonzero(cosines >= threshold)
    pairs = np.empty(len(i), PAIR)
    pairs["far"], pairs["i"], pairs["j"] = -cosines[i, j], first + i, second + j
    return pairs


def _nearest(queries: NDArray[Any], gallery: NDArray[Any], own: Indices | None) -> Nearest:
    """`own` are the queries' own rows of the gallery, which do not count."""
    if len(gallery) < (1 if own is None else 2):
        raise ValueError(f"{len(gallery)} pictures have no nearest one")
    parts = [
        _of_block(a, gallery, None if own is None else own[start : start + len(a)])
        for start, a in _blocks(queries)
    ]
    return Nearest(*map(np.concatenate, zip(*parts, strict=True)))


def _of_block(a: Array, gallery: NDArray[Any], own: Indices | None) -> Nearest:
    """The nearest rows of one block of queries."""
    least, index = np.full(len(a), np.inf), np.zeros(len(a), np.int64)
    for other, b in _blocks(gallery):
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
        if own is not None:
            here = np.flatnonzero((own >= other) & (own < other + len(b)))
            squares[here, own[here] - other] = np.inf
        at = squares.argmin(1)
        found = squares[np.arange(len(a)), at]
        index = np.where(found < least, other + at, index)
        least = np.minimum(found, least)
    # the expanded square is only as exact as the features are long: a copy is at distance 0
    return Nearest(np.linalg.norm(a - gallery[index], axis=1), index)


def _blocks(rows: NDArray[Any], first: int = 0) -> Iterator[tuple[int, Array]]:
    """(number of the block's first row, block [<= BLOCK, d]); the first row of all is `first`."""
    for start in range(0, len(rows), BLOCK):
        yield first + start, rows[start : start + BLOCK].astype(np.float64)


def unit(rows: ArrayLike) -> Array:
    """The rows [N, d] at length 1, in float64; a row of zeros stays."""
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float64).tiny))
