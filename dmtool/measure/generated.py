"""The figures of generated pictures, from features alone.

The protocol: one picture per caption; reference and gallery are all real pictures of the set, or of
the group of captions that is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmtool.measure.alignment.retrieval import Ranks, groups, recalls, retrieval
from dmtool.measure.distances.lot import Lot
from dmtool.measure.distances.tiles import Rows
from dmtool.measure.measures import RETRIEVAL, Figures, Sets, measure


@dataclass(frozen=True)
class Reference:
    """All real pictures of a set: features [M, d] and captions [M], and the lot by which those are
    drawn that measures of all pairs take (None: they take all). A ValueError if they do not fit."""

    features: Rows
    captions: Sequence[str]
    lot: Lot | None = None

    def __post_init__(self) -> None:
        if len(self.captions) != len(self.features):
            raise ValueError(
                f"{len(self.features)} real pictures need as many captions, not "
                f"{len(self.captions)}"
            )

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Which pictures belong to "all", and to each group of captions that tells them apart."""
        return {"all": np.full(len(self.features), True)} | groups(self.captions)

    def drawn(self, members: NDArray[np.bool_]) -> Rows | None:
        """Of a group's pictures those of measures of all pairs, if not all."""
        rows = np.flatnonzero(members)
        chosen = rows if self.lot is None else self.lot(rows)
        return None if len(chosen) == len(rows) else self.features[chosen]


def evaluate(
    fake: ArrayLike,
    reference: Reference,
    truth: ArrayLike,
    wanted: Sequence[str],
    seed: int,
    logits: Rows | None = None,
) -> dict[str, Figures]:
    """The figures `wanted` for all captions ("all") and each group of them that tells them apart.

    Row i of fake [N, d] (and of its logits) was generated for the caption of row truth[i] of the
    reference. A group's figures compare with the real pictures of that group; its retrieval is
    among all. A ValueError if the shapes do not fit.
    """
    fake, real, truth = np.asarray(fake), reference.features, np.asarray(truth)
    asked = RETRIEVAL in wanted
    ranks, best = _ranks(fake, real, truth) if asked else (None, None)
    result = {}
    for name, members in reference.groups().items():
        rows = members[truth]
        if name == "all" or rows.sum() > 1:
            chosen = None if logits is None else logits[rows]
            sets = Sets(
                fake[rows], real[members], seed, chosen, real[truth[rows]],
                reference.drawn(members),
            )  # fmt: skip
            result[name] = measure(sets, wanted)
            if ranks and best:
                result[name] |= _recalls(ranks.at(rows), best.at(rows))
    return result


def _ranks(fake: Rows, real: Rows, truth: Rows) -> tuple[Ranks, Ranks]:
    """Of the generated pictures, and of the true ones in their place."""
    return retrieval(fake, real, truth), retrieval(real[truth], real, truth)


def _recalls(ranks: Ranks, best: Ranks) -> dict[str, Any]:
    """`ceiling` is what the true pictures score, below 1 where the set holds a picture twice."""
    return recalls(ranks) | {"ceiling": recalls(best)}
