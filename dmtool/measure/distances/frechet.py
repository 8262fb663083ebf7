"""The Fréchet distance between two sets of features, each taken for a Gaussian.

FD = |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2))  (Dowson & Landau 1982; as a distance
between sets of pictures, Heusel et al., arXiv:1706.08500, eq. 6), with A and B the covariances
over n - 1. Everything is float64, and nothing is added to the covariances to make them regular.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Frechet(NamedTuple):
    """A distance and its two parts: distance = mean_term + cov_term, neither below 0."""

    distance: float
    mean_term: float
    cov_term: float


@dataclass
class Moments:
    """Count, mean [d] and summed squares around the mean M2 [d, d] of the rows seen so far."""

    n: int
    mean: Array
    m2: Array

    @classmethod
    def empty(cls, dim: int) -> Moments:
        """No rows yet, of `dim` features each."""
        return cls(0, np.zeros(dim), np.zeros((dim, dim)))

    @classmethod
    def of(cls, features: ArrayLike) -> Moments:
        """The moments of the rows of `features` [n, d]; a ValueError unless all are finite."""
        rows = np.asarray(features, np.float64)
        if rows.ndim != 2 or not len(rows):
            raise ValueError(f"features must be [n, d] with n > 0, not {list(rows.shape)}")
        if not np.isfinite(rows).all():
            raise ValueError("features must be finite")
        mean = rows.mean(0)
        return cls(len(rows), mean, (rows - mean).T @ (rows - mean))

    def update(self, features: ArrayLike) -> None:
        """Take in the rows of `features` [n, d]."""
        self.merge(Moments.of(features))

    def merge(self, other: Moments) -> None:
        """Take in what `other` has seen (Chan, Golub & LeVeque 1979, eq. 2.1)."""
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"{len(self.mean)} features do not go with {len(other.mean)}")
        if not other.n:
            return
        n = self.n + other.n
        delta = other.mean - self.mean
        self.m2 = self.m2 + other.m2 + np.outer(delta, delta) * (self.n * other.n / n)
        self.mean = self.mean + delta * (other.n / n)
        self.n = n

    @property
    def covariance(self) -> Array:
        """The covariance [d, d] over n - 1; a ValueError below two rows."""
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 rows, not {self.n}")
        return self.m2 / (self.n - 1)


def frechet_distance(a: Moments, b: Moments) -> Frechet:
    """The distance between two sets by their moments; a ValueError below two rows in either.

    The trace of (A B)^(1/2) is the sum of the roots of the eigenvalues of L' B L, where A = L L':
    a symmetric problem, so that no root is complex, whatever the rank.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"{len(a.mean)} features do not compare with {len(b.mean)}")
    cov_a, cov_b = a.covariance, b.covariance
    half = factor(cov_a)
    roots = np.sqrt(np.linalg.eigvalsh(half.T @ cov_b @ half).clip(0))
    return _frechet(a.mean - b.mean, np.trace(cov_a) + np.trace(cov_b), roots.sum())


def frechet_distance_low_rank(x: ArrayLike, b: Moments) -> Frechet:
    """The same distance of the rows x [n, d] to a set by its moments; a ValueError below two rows.

    The cheaper way where x has fewer rows than features: its factor L comes of a matrix n by n, and
    so do the eigenvalues of L' B L (the idea is FastFID's, arXiv:2009.14075). Nothing of the other
    set's size is held.
    """
    rows = np.asarray(x, np.float64)
    if len(rows) < 2:
        raise ValueError(f"a covariance needs at least 2 rows, not {len(rows)}")
    if rows.shape[1:] != b.mean.shape:
        raise ValueError(f"features {rows.shape} do not compare with {len(b.mean)}")
    mean, covariance = rows.mean(0), b.covariance
    scaled = (rows - mean) / np.sqrt(len(rows) - 1)
    half = _factor_of_rows(scaled)
    roots = np.sqrt(np.linalg.eigvalsh(half.T @ covariance @ half).clip(0))
    return _frechet(mean - b.mean, (scaled**2).sum() + np.trace(covariance), roots.sum())


def factor(covariance: Array) -> Array:
    """L [d, rank] with L L' = covariance; directions of no variance but rounding are left out."""
    values, vectors = np.linalg.eigh(covariance)
    kept = _above_rounding(values)
    return vectors[:, kept] * np.sqrt(values[kept])


def _factor_of_rows(rows: Array) -> Array:
    """L [d, rank] with L L' = rows' rows, alike, from the Gram matrix of rows [n, d]."""
    values, vectors = np.linalg.eigh(rows @ rows.T)
    return rows.T @ vectors[:, _above_rounding(values)]


def _above_rounding(values: Array) -> NDArray[np.bool_]:
    return values > values[-1] * len(values) * np.finfo(np.float64).eps


def _frechet(delta: Array, traces: float, root_trace: float) -> Frechet:
    """Put the parts together; the covariances' part is 0 or more but for rounding."""
    mean_term = float(delta @ delta)
    cov_term = max(float(traces - 2 * root_trace), 0.0)
    return Frechet(mean_term + cov_term, mean_term, cov_term)
