"""How often pictures of shapes show what their captions say, by the programmatic judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtool.data.judge import Judgement, View, compare
from dmtool.data.scene import Description, parse
from dmtool.measure.alignment.toy_prompts import TASKS

ASPECTS = ("objects", "colours", "shapes", "sizes", "relations", "ground")
"""Fields of a `Judgement`, each for all objects of a caption at once: objects are their number."""

WORDS = ("colours", "shapes", "sizes", "relations", "ground")
"""What captions have words for."""

MEAN = "mean_of_tasks"

Groups = Mapping[str, NDArray[np.bool_]]
"""Which captions belong to each group."""


def are_shapes(captions: Sequence[str]) -> bool:
    """Whether the judge can read all captions."""
    try:
        return bool([parse(caption) for caption in captions])
    except ValueError:
        return False


def verdicts(views: Sequence[View], captions: Sequence[str]) -> list[Judgement]:
    """What each picture, as it was seen, shows of its caption."""
    return [compare(view, parse(caption)) for view, caption in zip(views, captions, strict=True)]


def groups(captions: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Captions by the number of their objects ("objects_2"), and by each word ("colours_red")."""
    descriptions = [parse(caption) for caption in captions]
    counts = np.array([len(each.kinds) for each in descriptions])
    found = {f"objects_{n}": counts == n for n in np.unique(counts)}
    words = [_words(each) for each in descriptions]
    for aspect in WORDS:
        for word in sorted({word for each in words for word in each[aspect]}):
            name = f"{aspect}_{word.replace(' ', '_')}"
            found[name] = np.array([word in each[aspect] for each in words])
    return found


def accuracies(
    found: Sequence[Judgement], captions: Sequence[str], groups: Groups
) -> dict[str, Any]:
    """{group: {"whole", and each of `ASPECTS`}}: shares of the group's pictures.

    `whole` is the share of pictures that show all of their caption. `relations` is over the
    captions that have any, and None without.
    """
    related = np.array([len(parse(caption).kinds) > 1 for caption in captions])
    return {
        name: _accuracy([found[i] for i in np.flatnonzero(rows).tolist()], related[rows])
        for name, rows in groups.items()
    }


def by_task(found: Sequence[Judgement], tasks: Sequence[str], groups: Groups) -> dict[str, Any]:
    """{group: {task: accuracy}} with their mean over the tasks, as GenEval's overall score.

    A group without prompts of some task is left out: its mean would not compare.
    """
    named = np.array(tasks)
    passed = np.array([TASKS[task].passed(each) for task, each in zip(tasks, found, strict=True)])
    result: dict[str, Any] = {}
    for name, rows in groups.items():
        right = {task: passed[rows & (named == task)] for task in dict.fromkeys(tasks)}
        if all(map(len, right.values())):
            shares = {task: float(each.mean()) for task, each in right.items()}
            result[name] = {MEAN: float(np.mean(list(shares.values()))), **shares}
    return result


def _accuracy(found: Sequence[Judgement], related: NDArray[np.bool_]) -> dict[str, Any]:
    shares = {name: [getattr(verdict, name) for verdict in found] for name in ASPECTS}
    shares["relations"] = [
        right for right, is_there in zip(shares["relations"], related, strict=True) if is_there
    ]
    return {
        "whole": float(np.mean([verdict.ok for verdict in found])),
        **{name: float(np.mean(right)) if right else None for name, right in shares.items()},
    }


def _words(description: Description) -> dict[str, set[str]]:
    kinds = description.kinds
    return {
        "colours": {kind.colour for kind in kinds},
        "shapes": {kind.shape for kind in kinds},
        "sizes": {kind.size for kind in kinds},
        "relations": set(description.relations),
        "ground": {description.ground},
    }
