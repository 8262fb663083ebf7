"""The figures of generated pictures, from features alone.

The protocol: one picture per caption; reference and gallery are all real pictures of the set, or of
the group of captions that is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dmtool.evaluate.measures import RETRIEVAL, Figures, Sets, measure
from dmtool.evaluate.retrieval import Ranks, groups, recalls, retrieval
from dmtool.evaluate.tiles import Rows


def evaluate(
    fake: ArrayLike,
    real: ArrayLike,
    truth: ArrayLike,
    captions: Sequence[str],
    wanted: Sequence[str],
    seed: int,
    logits: Rows | None = None,
) -> dict[str, Figures]:
    """The figures `wanted` for all captions ("all") and each group of them that tells them apart.

    Row i of fake [N, d] (and of its logits) was generated for the caption of row truth[i] of real
    [M, d], which are all pictures of the set with their `captions` [M]. A group's figures compare
    with the real pictures of that group; its retrieval is among all. A ValueError if the shapes do
    not fit.
    """
    fake, real, truth = np.asarray(fake), np.asarray(real), np.asarray(truth)
    if len(captions) != len(real):
        raise ValueError(f"{len(real)} real pictures need as many captions, not {len(captions)}")
    asked = RETRIEVAL in wanted
    ranks, best = _ranks(fake, real, truth) if asked else (None, None)
    result = {}
    for name, members in ({"all": np.full(len(real), True)} | groups(captions)).items():
        rows = members[truth]
        if name == "all" or rows.sum() > 1:
            chosen = None if logits is None else logits[rows]
            result[name] = measure(Sets(fake[rows], real[members], seed, chosen), wanted)
            if ranks and best:
                result[name] |= _recalls(ranks.at(rows), best.at(rows))
    return result


def _ranks(fake: Rows, real: Rows, truth: Rows) -> tuple[Ranks, Ranks]:
    """Of the generated pictures, and of the true ones in their place."""
    return retrieval(fake, real, truth), retrieval(real[truth], real, truth)


def _recalls(ranks: Ranks, best: Ranks) -> dict[str, Any]:
    """`ceiling` is what the true pictures score, below 1 where the set holds a picture twice."""
    return recalls(ranks) | {"ceiling": recalls(best)}
