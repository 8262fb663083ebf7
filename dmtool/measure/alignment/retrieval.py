"""Does the picture show its caption: where the true picture stands among all of the set.

A generated picture is compared with every real one by the cosine of their features, both centred
by the mean of the gallery; its rank is the place of the picture that its caption belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmtool.measure.distances.tiles import Array, Rows, blocks, checked, unit

TIE = 1e-9  # cosines that differ by less are equal but for rounding

GROUPS: dict[str, Callable[[str], bool]] = {
    "without_skin_tone": lambda caption: "skin tone" not in caption,
}
"""Captions told apart since the others' pictures look alike and are no fair test."""


class Ranks(NamedTuple):
    """For each of N rows: pictures nearer than the true one, and those as near, itself included."""

    nearer: NDArray[np.int64]
    tied: NDArray[np.int64]

    def at(self, rows: NDArray[Any]) -> Ranks:
        """The ranks of some rows, by index or mask."""
        return Ranks(self.nearer[rows], self.tied[rows])


def retrieval(fake: ArrayLike, gallery: ArrayLike, truth: ArrayLike) -> Ranks:
    """Where picture `truth[i]` of the gallery [M, d] stands for each row of fake [N, d].

    A ValueError if the shapes do not fit or a feature is not finite.
    """
    fake, gallery = checked(fake, gallery)
    truth = _checked_truth(truth, len(fake), len(gallery))
    centre = gallery.mean(0, dtype=np.float64)
    ranks = [_ranks(fake[rows], gallery, centre, truth[rows]) for rows in blocks(len(fake))]
    return Ranks(*map(np.concatenate, zip(*ranks, strict=True)))


def _ranks(fake: Rows, gallery: Rows, centre: Array, truth: NDArray[Any]) -> Ranks:
    """`retrieval` of some rows, the gallery a block at a time."""
    nearer, tied = np.zeros((2, len(fake)), np.int64)
    ours = unit(fake - centre)
    true = (ours * unit(gallery[truth] - centre)).sum(1, keepdims=True)
    for columns in blocks(len(gallery)):
        cosines = ours @ unit(gallery[columns] - centre).T
        above = cosines > true + TIE
        nearer += above.sum(1)
        tied += ((cosines >= true - TIE) & ~above).sum(1)
    return Ranks(nearer, tied)


def recall(ranks: Ranks, k: int) -> float:
    """R@k: the share of true pictures among the k nearest, ties in expectation over their order.

    Pictures that nothing tells apart share what they hit, so features that tell nothing apart at
    all score k / M, as guessing does.
    """
    return float(((k - ranks.nearer) / ranks.tied).clip(0, 1).mean())


def recalls(ranks: Ranks) -> dict[str, float]:
    """R@1 and R@10, for JSON."""
    return {"r@1": recall(ranks, 1), "r@10": recall(ranks, 10)}


def groups(captions: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Which captions belong to each of `GROUPS`; a group of none or of all is left out."""
    rows = {name: np.array([belongs(c) for c in captions]) for name, belongs in GROUPS.items()}
    return {name: mask for name, mask in rows.items() if 0 < mask.sum() < len(mask)}


def _checked_truth(truth: ArrayLike, n: int, m: int) -> NDArray[Any]:
    """`truth` as an array [n] of rows of a gallery of m; a ValueError if it is not that."""
    rows = np.asarray(truth)
    if rows.shape != (n,) or not n:
        raise ValueError(f"{n} pictures need as many true ones, not {rows.shape}")
    if rows.min() < 0 or rows.max() >= m:
        raise ValueError(f"the gallery has {m} pictures, not one of number {rows}")
    return rows
