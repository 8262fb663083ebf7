"""The figures of generated pictures, from features alone.

The protocol: one picture per caption; reference and gallery are all real pictures of the set;
beside the distance stands its floor, that of as many real pictures from the disjoint rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmtool.evaluate.frechet import (
    Frechet,
    Moments,
    frechet_distance,
    frechet_distance_low_rank,
)
from dmtool.evaluate.retrieval import groups, recalls, retrieval


def distance(fake: ArrayLike, real: ArrayLike) -> Frechet:
    """The Fréchet distance of the rows fake [n, d] and real [m, d], the cheaper exact way."""
    fake, real = np.asarray(fake), np.asarray(real)
    if min(len(fake), len(real)) < fake.shape[-1]:
        return frechet_distance_low_rank(fake, real)
    return frechet_distance(Moments.of(fake), Moments.of(real))


def evaluate(
    fake: ArrayLike, real: ArrayLike, truth: ArrayLike, captions: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The figures for all captions ("all") and for each group of captions that tells them apart.

    Row i of fake [N, d] was generated for the caption of row truth[i] of real [M, d], which are
    all pictures of the set with their `captions` [M]. A group's distance is to the real pictures
    of that group; its retrieval is among all. `ceiling` is the retrieval of the true pictures
    themselves, below 1 where the set holds a picture twice. A ValueError if the shapes do not fit.
    """
    fake, real, truth = np.asarray(fake), np.asarray(real), np.asarray(truth)
    if len(captions) != len(real):
        raise ValueError(f"{len(real)} real pictures need as many captions, not {len(captions)}")
    ranks, best = retrieval(fake, real, truth), retrieval(real[truth], real, truth)
    result = {}
    for name, members in ({"all": np.full(len(real), True)} | groups(captions)).items():
        rows = members[truth]
        if name == "all" or rows.sum() > 1:
            result[name] = _distances(fake[rows], real[members]) | recalls(ranks.at(rows))
            result[name]["ceiling"] = recalls(best.at(rows))
    return result


def _distances(fake: NDArray[Any], real: NDArray[Any]) -> dict[str, Any]:
    found = distance(fake, real)
    return {
        "n_fake": len(fake),
        "n_real": len(real),
        "fd": found.distance,
        "mean_term": found.mean_term,
        "cov_term": found.cov_term,
    }


def floor(real: ArrayLike, n: int, seed: int) -> dict[str, Any] | None:
    """The distance of n random rows of real [M, d] to the disjoint rest, for JSON.

    It is what a perfect generator of n pictures would score; None if there are not at least two
    pictures for either part.
    """
    real = np.asarray(real)
    if not 2 <= n <= len(real) - 2:
        return None
    order = np.random.default_rng(seed).permutation(len(real))
    return _distances(real[order[:n]], real[order[n:]]) | {"seed": seed}
