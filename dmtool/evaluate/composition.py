"""How often pictures of shapes show what their captions say, by the programmatic judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtool.data.judge import Verdict, View, compare
from dmtool.data.scene import Description, parse
from dmtool.evaluate.toy_prompts import TASKS

ASPECTS = ("objects", "colours", "shapes", "sizes", "relations", "ground")
"""Fields of a `Verdict`, each for all objects of a caption at once: objects are their number."""

Groups = Mapping[str, NDArray[np.bool_]]
"""Which captions belong to each group."""


def are_shapes(captions: Sequence[str]) -> bool:
    """Whether the judge can read all captions."""
    try:
        return bool([parse(caption) for caption in captions])
    except ValueError:
        return False


def verdicts(views: Sequence[View], captions: Sequence[str]) -> list[Verdict]:
    """What each picture, as it was seen, shows of its caption."""
    return [compare(view, parse(caption)) for view, caption in zip(views, captions, strict=True)]


def accuracies(found: Sequence[Verdict], captions: Sequence[str], groups: Groups) -> dict[str, Any]:
    """{group: {"n", "whole", and each of `ASPECTS`}} for all, for `groups`, and by objects.

    `whole` is the share of pictures that show all of their caption. `relations` is over the
    captions that have any, and None without.
    """
    descriptions = [parse(caption) for caption in captions]
    counts = np.array([len(each.kinds) for each in descriptions])
    by_count = {f"objects_{n}": counts == n for n in np.unique(counts)}
    whole = {"all": np.full(len(found), True)}
    return {
        name: _accuracy([found[i] for i in np.flatnonzero(rows)], counts[rows] > 1)
        for name, rows in (whole | dict(groups) | by_count).items()
    }


def by_word(found: Sequence[Verdict], captions: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{aspect: {word: {"n", "accuracy"}}}: captions with the word whose aspect is right."""
    result: dict[str, dict[str, Any]] = {}
    descriptions = [_words(parse(caption)) for caption in captions]
    for aspect in ("colours", "shapes", "sizes", "relations", "ground"):
        for word in sorted({word for each in descriptions for word in each[aspect]}):
            right = [
                getattr(verdict, aspect)
                for verdict, each in zip(found, descriptions, strict=True)
                if word in each[aspect]
            ]
            entry = {"n": len(right), "accuracy": float(np.mean(right))}
            result.setdefault(aspect, {})[word] = entry
    return result


def by_task(found: Sequence[Verdict], tasks: Sequence[str], groups: Groups) -> dict[str, Any]:
    """{task: {group: {"n", "accuracy"}}} and their mean over tasks, as GenEval's overall score."""
    named, passed = (
        np.array(tasks),
        np.array([TASKS[task].passed(verdict) for task, verdict in zip(tasks, found, strict=True)]),
    )
    result: dict[str, Any] = {}
    for group, members in ({"all": np.full(len(named), True)} | dict(groups)).items():
        for task in dict.fromkeys(tasks):
            right = passed[members & (named == task)]
            entry = {"n": len(right), "accuracy": float(right.mean())}
            result.setdefault(task, {})[group] = entry
        every = [result[task][group]["accuracy"] for task in dict.fromkeys(tasks)]
        entry = {"n": int(members.sum()), "accuracy": float(np.mean(every))}
        result.setdefault("mean_of_tasks", {})[group] = entry
    return {"mean_of_tasks": result.pop("mean_of_tasks"), **result}


def _accuracy(found: Sequence[Verdict], related: NDArray[np.bool_]) -> dict[str, Any]:
    shares = {name: [getattr(verdict, name) for verdict in found] for name in ASPECTS}
    shares["relations"] = [
        right for right, is_there in zip(shares["relations"], related, strict=True) if is_there
    ]
    return {
        "n": len(found),
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
