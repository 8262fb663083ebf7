"""The Inception score: are single pictures clear and all of them varied, by a classifier's view?

exp(E_x KL(p(y|x) | p(y)))  (Salimans et al., arXiv:1606.03498): 1 if the classifier sees no
difference, the number of classes if every picture is surely of one class and all are as frequent.
It sees no real picture.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dmtool.measure.distances.tiles import Array

SPLITS, SEED = 10, 2020
"""torch-fidelity's protocol."""


class Score(NamedTuple):
    """Mean and standard deviation (over n) of the splits' scores."""

    mean: float
    std: float


def inception_score(logits: ArrayLike, splits: int = SPLITS, seed: int = SEED) -> Score:
    """The score of logits [N, classes], shuffled and cut into `splits` parts, in float64.

    A ValueError if there are fewer pictures than parts.
    """
    rows = np.asarray(logits)
    if rows.ndim != 2 or len(rows) < splits:
        raise ValueError(f"{splits} splits need as many pictures, not logits {rows.shape}")
    rows = rows[np.random.RandomState(seed).permutation(len(rows))]
    cuts = [i * len(rows) // splits for i in range(splits + 1)]
    scores = [_score(rows[a:b].astype(np.float64)) for a, b in pairwise(cuts)]
    return Score(float(np.mean(scores)), float(np.std(scores)))


def _score(logits: Array) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    p = np.exp(log_p)
    with np.errstate(divide="ignore", invalid="ignore"):  # classes of no probability at all
        terms = np.where(p > 0, p * (log_p - np.log(p.mean(0))), 0)
    return float(np.exp(terms.sum(1).mean()))
