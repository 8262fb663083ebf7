"""How near sets of pictures are to the training pictures, by features alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmtool.measure.decoders.pairs import spread
from dmtool.measure.memory.neighbours import (
    Array,
    Nearest,
    authentic,
    closer,
    nearest,
    nearest_other,
    unit,
)

SAME = 1 - 1e-8
"""The cosine from which features are equal but for rounding."""


class Close(NamedTuple):
    """A picture and the training picture nearest to it: the rows of both, and the distance."""

    row: int
    near: int
    distance: float


def figures(sides: Mapping[str, Nearest], train: ArrayLike) -> dict[str, Any]:
    """For each set the spread of the distances to the `nearest` training pictures, whose features
    are train [M, d], and AuthPct, for JSON.

    `closer` compares the first set, the samples, with each other one: the chance that a sample is
    nearer, 0.5 where the two are alike. `ratio` is the quotient of the medians.
    """
    first, *rest = sides.values()
    others = _others([side.row for side in sides.values()], np.asarray(train))
    result = {name: _side(side, others) for name, side in sides.items()}
    for name, side in zip(list(sides)[1:], rest, strict=True):
        median = float(np.median(side.distance))
        ratio = float(np.median(first.distance)) / median if median > 0 else None
        result[name] |= {"closer": closer(first.distance, side.distance), "ratio": ratio}
    return result


def _others(rows: Sequence[NDArray[np.int64]], train: NDArray[Any]) -> Nearest:
    """The `nearest_other` of those training pictures that are nearest to some picture: NaN, and no
    row, for the others, which nobody asks for."""
    asked = np.unique(np.concatenate(rows))
    found = nearest_other(train, asked)
    distance, row = np.full(len(train), np.nan), np.full(len(train), -1)
    distance[asked], row[asked] = found
    return Nearest(distance, row)


def _side(side: Nearest, others: Nearest) -> dict[str, Any]:
    return {
        "n": len(side.distance),
        "distance": spread(side.distance),
        "auth_pct": 100 * float(authentic(side, others).mean()),
    }


def near_duplicates(
    train: ArrayLike, held_out: ArrayLike, threshold: float, chosen: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """The shares of the `chosen` training pictures and of held-out ones with a near duplicate:
    another training picture whose features [M, d] are at a cosine of `threshold` or more; `same`:
    at one of 1."""
    train, held_out = unit(train), unit(held_out)
    found = {
        "train": nearest_other(train, chosen).distance,
        "held_out": nearest(held_out, train).distance,
    }

    def share(distance: Array, cosine: float) -> float:
        reach = np.sqrt(2 - 2 * cosine)  # the distance of unit vectors at that cosine
        return float((distance <= reach).mean())

    return {
        name: {"near_duplicate": share(each, threshold), "same": share(each, SAME)}
        for name, each in found.items()
    }


def closest(found: Nearest, rows: Sequence[int], train: Sequence[int], count: int) -> list[Close]:
    """The closest pairs, closest first; `rows` and `train` are the rows of both in the set."""
    order = np.argsort(found.distance, kind="stable")[:count]
    return [Close(rows[i], train[found.row[i]], float(found.distance[i])) for i in order]
