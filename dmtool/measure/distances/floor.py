"""The distance that a perfect generator would have: never 0 of new pictures, since sets are finite.

There are two, by name. `true_pictures` is that of a run: the real pictures of the very captions
that were painted, against the reference that the run is measured against, which holds them. A
generator that gave each caption its own picture would score it. `disjoint_sample` is that of two
sets which share nothing: as many real pictures against the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dmtool.measure.distances.distance import distance, moments
from dmtool.measure.distances.frechet import Moments

FAR_ABOVE = 10
"""Pictures per feature from which the closed form holds."""


def floors(real: ArrayLike, n: int, seed: int, true: ArrayLike | None = None) -> dict[str, Any]:
    """Both floors of n generated pictures against real [M, d], for JSON: that of the `true`
    pictures [n, d], if captions say which they are, and that of a disjoint sample."""
    found = {} if true is None else {"true_pictures": {"fd": distance(true, real).distance}}
    return found | {"disjoint_sample": disjoint(real, n, seed)}


def disjoint(real: ArrayLike, n: int, seed: int) -> dict[str, Any] | None:
    """The distance of n random rows of real [M, d] to the disjoint rest, for JSON.

    Where the rest would be fewer than n it is the closed form for n pictures against M, if n is
    far above d; and None where it is not.
    """
    rows = np.asarray(real)
    if 2 <= n <= len(rows) - n:
        order = np.random.default_rng(seed).permutation(len(rows))
        found = distance(rows[order[:n]], rows[order[n:]]).distance
        return {"fd": found, "n_fake": n, "n_real": len(rows) - n, "how": "drawn", "seed": seed}
    if min(n, len(rows)) >= FAR_ABOVE * rows.shape[1]:
        found = closed_form(moments(rows), n)
        return {"fd": found, "n_fake": n, "n_real": len(rows), "how": "closed form"}
    return None


def closed_form(real: Moments, n: int) -> float:
    """The expected distance of n new samples of a Gaussian to as many as `real` has seen.

    (1/n + 1/m) (sum_i l_i + 1/2 sum_ij l_i l_j (1 + d_ij) / (l_i + l_j)) with the covariance's
    eigenvalues l: the first order in 1/n, which holds for n and m far above the number of features.
    """
    values = np.linalg.eigvalsh(real.covariance)
    values = values[values > 0]
    pairs = values[:, None] * values / (values[:, None] + values)
    means, covariances = values.sum(), (pairs.sum() + np.trace(pairs)) / 2
    return float((1 / n + 1 / real.n) * (means + covariances))
