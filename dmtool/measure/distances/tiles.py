"""All pairs of the rows of two sets, a tile at a time: no matrix of N x N is ever held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Rows = NDArray[Any]

SIDE = 2048
"""Rows of a tile, and its columns."""

EQUAL = 1e-12
"""Squared distances below this share of the squared lengths are rounding: the rows are equal."""


def blocks(n: int) -> Iterator[slice]:
    """`SIDE` of n rows at a time."""
    yield from (slice(start, min(start + SIDE, n)) for start in range(0, n, SIDE))


def tiles(n: int, m: int) -> Iterator[tuple[slice, slice]]:
    """All pairs of n rows and m columns, in tiles."""
    yield from ((rows, columns) for rows in blocks(n) for columns in blocks(m))


def upper_tiles(n: int) -> Iterator[tuple[slice, slice, int]]:
    """All pairs of n rows with one another in the tiles on and above the diagonal, each with how
    often it counts."""
    for rows, columns in tiles(n, n):
        if rows.start <= columns.start:
            yield rows, columns, 1 if rows == columns else 2


def squared_distances(x: ArrayLike, y: ArrayLike) -> Array:
    """|x_i - y_j|^2, [n, m], of rows x [n, d] and y [m, d]; exactly 0 for equal rows."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1)
    found: Array = squares - 2 * (x @ y.T)
    found[found < EQUAL * squares] = 0
    return found


def nearest(x: ArrayLike, k: int) -> Array:
    """Squared distances of each row of x [n, d] to its k nearest others, [n, k], in order.

    A ValueError unless there are more than k rows.
    """
    rows = np.asarray(x)
    if not 0 < k < len(rows):
        raise ValueError(f"{k} neighbours of each need more than {k} pictures, not {len(rows)}")
    return np.concatenate([_nearest(rows, block, k) for block in blocks(len(rows))])


def _nearest(x: Rows, block: slice, k: int) -> Array:
    found = np.full((block.stop - block.start, k + 1), np.inf)
    for columns in blocks(len(x)):
        both = np.hstack([found, squared_distances(x[block], x[columns])])
        found = np.partition(both, k, axis=1)[:, : k + 1]
    return np.sort(found, axis=1)[:, 1:]  # the nearest is the row itself


def unit(x: ArrayLike) -> Array:
    """The rows of x [n, d] at length 1; a row of zeros stays."""
    rows = np.asarray(x, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Array = rows / np.maximum(lengths, np.finfo(np.float64).tiny)
    return found


def checked(fake: ArrayLike, real: ArrayLike) -> tuple[Rows, Rows]:
    """Two sets as arrays [n, d] and [m, d]; a ValueError unless they compare and are finite."""
    fake, real = np.asarray(fake), np.asarray(real)
    if fake.ndim != 2 or real.ndim != 2 or fake.shape[1] != real.shape[1]:
        raise ValueError(f"features {fake.shape} do not compare with {real.shape}")
    if not (np.isfinite(fake).all() and np.isfinite(real).all()):
        raise ValueError("features must be finite")
    return fake, real
