"""Does the picture show its caption: where the true picture stands among all of the set.

A generated picture is compared with every real one by the cosine of their features, both centred
by the mean of the gallery; its rank is the place of the picture that its caption belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    fake, gallery = np.asarray(fake, np.float64), np.asarray(gallery, np.float64)
    truth = np.asarray(truth)
    _check(fake, gallery, truth)
    centre = gallery.mean(0)
    cosines = _unit(fake - centre) @ _unit(gallery - centre).T
    true = np.take_along_axis(cosines, truth[:, None], axis=1)
    nearer = cosines > true + TIE
    return Ranks(nearer.sum(1), ((cosines >= true - TIE) & ~nearer).sum(1))


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


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, np.finfo(np.float64).tiny)


def _check(fake: NDArray[np.float64], gallery: NDArray[np.float64], truth: NDArray[Any]) -> None:
    if fake.ndim != 2 or gallery.ndim != 2 or fake.shape[1] != gallery.shape[1]:
        raise ValueError(f"features {fake.shape} do not compare with {gallery.shape}")
    if truth.shape != fake.shape[:1] or not len(truth):
        raise ValueError(f"{len(fake)} pictures need as many true ones, not {truth.shape}")
    if truth.min() < 0 or truth.max() >= len(gallery):
        raise ValueError(f"the gallery has {len(gallery)} pictures, not one of number {truth}")
    if not (np.isfinite(fake).all() and np.isfinite(gallery).all()):
        raise ValueError("features must be finite")
