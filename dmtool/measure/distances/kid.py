"""The kernel distance of two sets of features (KID on Inception's): squared MMD, cubic kernel.

k(x, y) = (x . y / d + 1)^3  (Binkowski et al., arXiv:1801.01401, section 4). A set's pairs with
itself leave out the diagonal, the pairs across count all, so the estimate has no bias and may be
below 0. float64 throughout.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dmtool.measure.distances.tiles import Array, Rows, checked, tiles, upper_tiles

SUBSETS, SIZE, SEED = 100, 1000, 2020
"""torch-fidelity's protocol."""


class Subsets(NamedTuple):
    """Mean and standard deviation (over n) of the distance on random subsets."""

    mean: float
    std: float


def kid(fake: ArrayLike, real: ArrayLike) -> float:
    """The distance of all rows fake [n, d] to all of real [m, d]: nothing is drawn.

    A ValueError below two rows in either.
    """
    x, y = checked(fake, real)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"KID needs at least 2 pictures of each, not {len(x)} and {len(y)}")
    return _within(x) + _within(y) - 2 * _across(x, y)


def kid_subsets(
    fake: ArrayLike,
    real: ArrayLike,
    subsets: int = SUBSETS,
    size: int = SIZE,
    seed: int = SEED,
) -> Subsets:
    """The distance on subsets of `size` rows drawn without replacement, as torch-fidelity draws.

    It draws from its first input before its second: the generated pictures are the first. A
    ValueError if a set has no more than `size` rows: the same subset would be drawn every time.
    """
    x, y = checked(fake, real)
    if min(len(x), len(y)) <= size:
        raise ValueError(
            f"subsets of {size} need more pictures, not {len(x)} and {len(y)}: take the full KID"
        )
    random = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        ours = x[random.choice(len(x), size, replace=False)]
        found.append(kid(ours, y[random.choice(len(y), size, replace=False)]))
    return Subsets(float(np.mean(found)), float(np.std(found)))


def _kernel(x: Rows, y: Rows) -> Array:
    dots: Array = x.astype(np.float64) @ y.T.astype(np.float64)
    return (dots / x.shape[1] + 1) ** 3


def _within(x: Rows) -> float:
    """The mean over all pairs of different rows."""
    total = sum(_kernel(x[a], x[b]).sum() * times for a, b, times in upper_tiles(len(x)))
    diagonal = (((x.astype(np.float64) ** 2).sum(1) / x.shape[1] + 1) ** 3).sum()
    return float((total - diagonal) / (len(x) * (len(x) - 1)))


def _across(x: Rows, y: Rows) -> float:
    """The mean over all pairs of one row of each."""
    total = sum(_kernel(x[a], y[b]).sum() for a, b in tiles(len(x), len(y)))
    return float(total / (len(x) * len(y)))
