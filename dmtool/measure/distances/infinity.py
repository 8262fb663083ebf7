"""The Fréchet distance that infinitely many generated pictures would have, by extrapolation.

A distance of N pictures is too large by about c / N, and c is another one for each model, so that
equal N does not make distances fair (Chong & Forsyth, arXiv:1911.07023). A line through distances
of growing N over 1 / N is read at 0. The bias that the reference's own number brings stays in it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dmtool.measure.distances.distance import Against

POINTS, SMALLEST = 15, 5000
"""As published: so many sizes, from 5,000 pictures (here from half of them, if that is less)."""


class Infinity(NamedTuple):
    """The distance at 1 / N = 0, the slope over 1 / N, how well the line fits, and the sizes."""

    distance: float
    slope: float
    r2: float
    sizes: list[int]


def infinity(fake: ArrayLike, real: ArrayLike, seed: int) -> Infinity:
    """The extrapolation for rows fake [n, d] against real [m, d].

    Each size is drawn without replacement. The line holds for sizes well above d only: look at
    the smallest. A ValueError below 30 pictures.
    """
    against = Against(fake, real)
    n, random = len(against.fake), np.random.default_rng(seed)
    if n < 2 * POINTS:
        raise ValueError(f"an extrapolation needs at least {2 * POINTS} pictures, not {n}")
    sizes = np.linspace(min(SMALLEST, n // 2), n, POINTS).astype(np.int64)
    found = np.array([against(random.permutation(n)[:size]) for size in sizes])
    slope, intercept = np.polyfit(1 / sizes, found, 1)
    r2 = np.corrcoef(1 / sizes, found)[0, 1] ** 2
    return Infinity(float(intercept), float(slope), float(r2), sizes.tolist())
