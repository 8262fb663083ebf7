"""The Fréchet distance from rows of features: once, or of many choices of rows to one reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmtool.measure.distances.frechet import (
    Frechet,
    Moments,
    factor,
    frechet_distance,
    frechet_distance_low_rank,
)
from dmtool.measure.distances.tiles import Array, Rows, blocks, checked


def distance(fake: ArrayLike, real: ArrayLike) -> Frechet:
    """The Fréchet distance of the rows fake [n, d] and real [m, d], the cheaper exact way."""
    x, y = checked(fake, real)
    fewer, more = (x, y) if len(x) <= len(y) else (y, x)
    if len(fewer) < x.shape[1]:
        return frechet_distance_low_rank(fewer, moments(more))
    return frechet_distance(moments(x), moments(y))


def moments(rows: Rows) -> Moments:
    """The moments of rows [n, d], a block at a time: no copy of all in float64."""
    found = Moments.empty(rows.shape[1])
    for block in blocks(len(rows)):
        found.update(rows[block])
    return found


class Against:
    """Fréchet distances of choices of the rows fake [n, d] to all of real [m, d], which is seen
    through once."""

    def __init__(self, fake: ArrayLike, real: ArrayLike) -> None:
        self.fake, real = checked(fake, real)
        reference = moments(real)
        self.mean, self.trace = reference.mean, float(np.trace(reference.covariance))
        self.factor = factor(reference.covariance)

    def __call__(self, chosen: NDArray[np.int64]) -> float:
        """The distance of the rows `chosen`, by index; one may be chosen several times."""
        rows = self.fake[chosen]
        few = len(rows) < self.factor.shape[1]
        mean, variance, values = (self._few if few else self._many)(rows)
        roots = np.sqrt(values.clip(0)).sum()
        return float(((mean - self.mean) ** 2).sum() + variance + self.trace - 2 * roots)

    def _few(self, rows: Rows) -> tuple[Array, float, Rows]:
        """Mean, total variance, and the eigenvalues of both covariances' product, by the rows."""
        mean = rows.mean(0, dtype=np.float64)
        centred = (rows - mean) / np.sqrt(len(rows) - 1)
        seen = centred @ self.factor
        values = np.linalg.eigvalsh(seen @ seen.T)
        return mean, float((centred**2).sum()), values

    def _many(self, rows: Rows) -> tuple[Array, float, Rows]:
        """The same by the covariance."""
        found = moments(rows)
        covariance = found.covariance
        values = np.linalg.eigvalsh(self.factor.T @ covariance @ self.factor)
        return found.mean, float(np.trace(covariance)), values
