"""Is each generated picture near real ones, and is each real one near generated ones?

A set's manifold is the union of balls around its members, each as wide as the distance to the k-th
nearest other member. Precision and recall (Kynkaanniemi et al., arXiv:1904.06991) are the share of
generated pictures in the real manifold, and of real ones in the generated: k = 3, the border
belongs to the ball, as in torch-fidelity. Density and coverage (Naeem et al., arXiv:2002.09797)
count the real balls that a generated picture lies in, over k, and the share of real balls that hold
one: k = 5, without the border, as in prdc.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dmtool.measure.distances.tiles import checked, nearest, squared_distances, tiles

K_PRECISION, K_DENSITY = 3, 5


class Manifold(NamedTuple):
    """All in [0, 1] but density, which may be above 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(
    fake: ArrayLike, real: ArrayLike, k: int = K_PRECISION, k_density: int = K_DENSITY
) -> Manifold:
    """The four figures of rows fake [n, d] and real [m, d]; a ValueError below k + 1 of them."""
    x, y = checked(fake, real)
    around_fake, around_real = nearest(x, k), nearest(y, max(k, k_density))
    ball_fake, ball_real = around_fake[:, k - 1], around_real[:, k - 1]
    wide_real = around_real[:, k_density - 1]
    precise, recalled, covered = (np.full(len(each), False) for each in (x, y, y))
    inside = 0
    for a, b in tiles(len(x), len(y)):
        tile = squared_distances(x[a], y[b])
        precise[a] |= (tile <= ball_real[b]).any(1)
        recalled[b] |= (tile <= ball_fake[a, None]).any(0)
        within = tile < wide_real[b]
        covered[b] |= within.any(0)
        inside += int(within.sum())
    density = inside / (k_density * len(x))
    return Manifold(float(precise.mean()), float(recalled.mean()), density, float(covered.mean()))
