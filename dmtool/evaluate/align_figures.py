"""From what was seen of pictures to the figures of `eval-align`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtool.evaluate import clip_score, composition
from dmtool.evaluate.asked import Asked
from dmtool.evaluate.clip import Clip, Embeddings
from dmtool.evaluate.retrieval import recalls, retrieval

Views = dict[str, list[Any]]
"""What each look gave of pictures, by its name: "clip", "view", "features"."""


def retrieved(found: Views, gallery: NDArray[np.float32], wanted: Asked) -> dict[str, Any]:
    """{group: {"n", "r@1", "r@10", "ceiling"}}: where the true picture stands among all.

    `ceiling` is the retrieval of the true pictures themselves, below 1 where the set holds a
    picture twice.
    """
    truth = np.array(wanted.rows)
    ranks = retrieval(np.array(found["features"]), gallery, truth)
    best = retrieval(gallery[truth], gallery, truth)
    groups = {"all": np.full(len(truth), True)} | dict(wanted.groups)
    return {"gallery": len(gallery)} | {
        name: {"n": int(rows.sum()), **recalls(ranks.at(rows)), "ceiling": recalls(best.at(rows))}
        for name, rows in groups.items()
    }


def scored(
    views: Mapping[str, Views], captions: Sequence[str], model: Clip, batch_size: int
) -> dict[str, Any]:
    """{pictures: CLIP scores}, by the names of `clip_score.FORMS`."""
    plain, prefixed = (
        _texts([prefix + caption for caption in captions], model, batch_size)
        for prefix in ("", clip_score.HESSEL_PREFIX)
    )
    return {
        name: clip_score.scores(*(_cosines(each["clip"], texts) for texts in (plain, prefixed)))
        for name, each in views.items()
    }


def composed(
    views: Mapping[str, Views], captions: Sequence[str], wanted: Asked | None
) -> dict[str, Any]:
    """{pictures: {"captions", "words", "tasks"}} by `composition`; "tasks" if there are any."""
    groups, tasks = (wanted.groups, wanted.tasks) if wanted else ({}, [])
    result: dict[str, Any] = {}
    for name, each in views.items():
        verdicts = composition.verdicts(each["view"], captions)
        result[name] = {
            "captions": composition.accuracies(verdicts, captions, groups),
            "words": composition.by_word(verdicts, captions),
        }
        if tasks:
            result[name]["tasks"] = composition.by_task(verdicts, tasks, groups)
    return result


def _texts(texts: Sequence[str], model: Clip, batch_size: int) -> Embeddings:
    starts = range(0, len(texts), batch_size)
    return np.concatenate([model.texts(texts[i : i + batch_size]) for i in starts])


def _cosines(pictures: Sequence[Embeddings], texts: Embeddings) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (np.array(pictures, np.float64) * texts).sum(1)
    return found
