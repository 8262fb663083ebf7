"""From what was seen of pictures to the figures of `eval-align`, by groups of captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtool.measure.alignment import clip_score, composition
from dmtool.measure.alignment.clip import Clip, Embeddings
from dmtool.measure.alignment.composition import Groups
from dmtool.measure.alignment.prompt_sets import CaptionSet
from dmtool.measure.alignment.retrieval import recalls, retrieval
from dmtool.measure.measures import Figures

Views = dict[str, list[Any]]
"""What each look gave of pictures, by its name: "clip", "view", "features"."""

GENERATED = "generated"
"""The set of pictures that is measured; others stand beside it."""


@dataclass(frozen=True)
class Gallery:
    """Features [M, d] of all real pictures, and the row of each caption's own."""

    features: NDArray[np.float32]
    rows: list[int]


def figures(
    sets: Mapping[str, Views],
    asked: CaptionSet,
    model: Clip | None,
    batch_size: int,
    gallery: Gallery | None = None,
) -> dict[str, Figures]:
    """{group: figures}: of the generated pictures for all captions ("all"), then of each other set
    for all captions, by its name, then of the generated pictures for each group of captions.

    `clip` holds `clip_score.FORMS`, `composition` and `tasks` what the module `composition` counts,
    which needs a "view" of all pictures.
    """
    whole = {"all": np.full(len(asked.captions), True)}
    judged = "view" in sets[GENERATED]
    groups = whole | dict(asked.groups) | (composition.groups(asked.captions) if judged else {})
    texts = _texts(asked.captions, model, batch_size) if model else []
    found = _of_set(sets[GENERATED], asked, texts, groups)
    for name, each in (_retrieved(sets[GENERATED], gallery, groups) if gallery else {}).items():
        found[name] |= each
    others = {name: views for name, views in sets.items() if name != GENERATED}
    beside = {name: _of_set(v, asked, texts, whole)["all"] for name, v in others.items()}
    return {"all": found.pop("all"), **beside, **found}


def _of_set(
    views: Views, asked: CaptionSet, texts: Sequence[Embeddings], groups: Groups
) -> dict[str, Figures]:
    found: dict[str, Figures] = {name: {"n": int(rows.sum())} for name, rows in groups.items()}
    if texts:
        cosines = [_cosines(views["clip"], each) for each in texts]
        for name, rows in groups.items():
            found[name]["clip"] = clip_score.scores(*(each[rows] for each in cosines))
    for measure, each in (_judged(views, asked, groups) if "view" in views else {}).items():
        for name, shares in each.items():
            found[name][measure] = shares
    return found


def _judged(views: Views, asked: CaptionSet, groups: Groups) -> dict[str, dict[str, Figures]]:
    verdicts = composition.verdicts(views["view"], asked.captions)
    found = {"composition": composition.accuracies(verdicts, asked.captions, groups)}
    return found | (
        {"tasks": composition.by_task(verdicts, asked.tasks, groups)} if asked.tasks else {}
    )


def _retrieved(views: Views, gallery: Gallery, groups: Groups) -> dict[str, Figures]:
    """Where the true picture stands among all; `ceiling`: where the true pictures themselves do.

    It is below 1 where the set holds a picture twice.
    """
    truth = np.array(gallery.rows)
    ranks = retrieval(np.array(views["features"]), gallery.features, truth)
    best = retrieval(gallery.features[truth], gallery.features, truth)
    return {
        name: recalls(ranks.at(rows)) | {"ceiling": recalls(best.at(rows))}
        for name, rows in groups.items()
    }


def _texts(captions: Sequence[str], model: Clip, batch_size: int) -> list[Embeddings]:
    """Of the captions as they are, and after Hessel's prefix."""
    starts = range(0, len(captions), batch_size)
    parts = [captions[i : i + batch_size] for i in starts]
    return [
        np.concatenate([model.texts([prefix + caption for caption in part]) for part in parts])
        for prefix in ("", clip_score.HESSEL_PREFIX)
    ]


def _cosines(pictures: Sequence[Embeddings], texts: Embeddings) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (np.array(pictures, np.float64) * texts).sum(1)
    return found
