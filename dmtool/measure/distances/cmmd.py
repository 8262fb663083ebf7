"""CMMD: squared MMD of CLIP's picture embeddings with a Gaussian kernel.

k(x, y) = exp(-|x - y|^2 / (2 sigma^2)) of embeddings at length 1, sigma = 10, times 1,000
(Jayasumana et al., arXiv:2401.09603). As in its authors' code the mean goes over all pairs, the
diagonal included: an estimate with a bias of the order of 1/N.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dmtool.measure.distances.tiles import Array, checked, squared_distances, tiles, unit

SIGMA, SCALE = 10.0, 1000.0


def cmmd(fake: ArrayLike, real: ArrayLike) -> float:
    """The distance of embeddings fake [n, d] and real [m, d] of any length."""
    x, y = (unit(rows) for rows in checked(fake, real))
    return SCALE * (_similarity(x, x) + _similarity(y, y) - 2 * _similarity(x, y))


def _similarity(x: Array, y: Array) -> float:
    """The kernel's mean over all pairs of one row of each."""
    total = sum(
        np.exp(-squared_distances(x[a], y[b]) / (2 * SIGMA**2)).sum()
        for a, b in tiles(len(x), len(y))
    )
    return float(total / (len(x) * len(y)))
