"""What of a caption was new to the training: nothing, the composition, or a concept.

The rule. A caption's concepts are its words but for `STOP`, in lower case. It is an **unseen
concept** if one of them stands in no training caption. It is an **unseen composition** if all of
them do, but never together: no training caption has all of them. Captions of shapes bind words to
objects, so there what must have been together is each object's colour with its shape, in one object
of a training caption. All others are **seen**, in other words or order perhaps.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from dmtool.data.scene import parse

SEEN, COMPOSITION, CONCEPT = NOVELTIES = ("seen", "unseen_composition", "unseen_concept")
STOP = frozenset(
    {"a", "an", "and", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with"}
)

Together = frozenset[str]
"""Concepts that a caption says of one thing."""


def novelty(captions: Sequence[str], training: Iterable[str]) -> NDArray[np.str_]:
    """For each caption the one of `NOVELTIES` that it is beside those of the training."""
    places: dict[str, set[int]] = defaultdict(set)
    for number, together in enumerate({each for one in training for each in combinations(one)}):
        for concept in together:
            places[concept].add(number)
    return np.array([_novelty(caption, places) for caption in captions])


def combinations(caption: str) -> list[Together]:
    """What a caption says together: of each object, if it is one of shapes, or in all."""
    try:
        return [frozenset(kind.pair) for kind in parse(caption).kinds]
    except ValueError:
        return [words(caption)]


def words(caption: str) -> Together:
    """The concepts of a caption."""
    return frozenset(re.findall(r"[^\W_]+", caption.lower())) - STOP


def _novelty(caption: str, places: dict[str, set[int]]) -> str:
    together = combinations(caption)
    if any(concept not in places for each in together for concept in each):
        return CONCEPT
    common = (reduce(set.intersection, [places[c] for c in each]) for each in together if each)
    return SEEN if all(common) else COMPOSITION
