"""How much a Fréchet distance would move with other pictures of the same model."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dmtool.measure.distances.distance import Against

RESAMPLES = 20


def spread(fake: ArrayLike, real: ArrayLike, seed: int, resamples: int = RESAMPLES) -> float:
    """The standard deviation of the distance over bootstrap samples of fake [n, d]; real stays.

    Their mean is of no use: a sample with replacement holds pictures twice, which makes every
    distance larger.
    """
    against = Against(fake, real)
    n, random = len(against.fake), np.random.default_rng(seed)
    found = [against(random.integers(0, n, n)) for _ in range(resamples)]
    return float(np.std(found, ddof=1))
