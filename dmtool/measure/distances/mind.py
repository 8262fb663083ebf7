"""The sliced Wasserstein distance of two sets of features (MIND on Inception's).

MIND = 3 d E_u W2^2(u . X, u . Y) over directions u of length 1  (Berthet et al., arXiv:2605.06797):
in one dimension optimal transport pairs the sorted values. Drawn as torch-fidelity 0.5 draws: 1,000
directions, and from the larger set as many rows as the smaller one has.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from dmtool.measure.distances.tiles import Array, Rows, checked

DIRECTIONS, SEED = 1000, 2020
"""torch-fidelity's protocol."""

CHUNK = 64  # directions at once


def mind(fake: ArrayLike, real: ArrayLike, directions: int = DIRECTIONS, seed: int = SEED) -> float:
    """The distance of rows fake [n, d] and real [m, d], in float64; 0 for equal sets."""
    x, y = checked(fake, real)
    random = torch.Generator().manual_seed(seed)
    n = min(len(x), len(y))
    x, y = _first(x, n, random), _first(y, n, random)
    drawn = torch.randn(directions, x.shape[1], generator=random).double().numpy()
    along = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    total = sum(_transport(x, y, along[i : i + CHUNK]) for i in range(0, directions, CHUNK))
    return 3 * x.shape[1] * total / directions


def _first(rows: Rows, n: int, random: torch.Generator) -> Rows:
    """n random rows, or all if there are no more."""
    if len(rows) == n:
        return rows
    return rows[torch.randperm(len(rows), generator=random)[:n].numpy()]


def _transport(x: Rows, y: Rows, along: Array) -> float:
    """The sum of W2^2 over the directions along [c, d]."""
    ours, theirs = (np.sort(rows @ along.T, axis=0) for rows in (x, y))
    return float(((ours - theirs) ** 2).mean(0).sum())
