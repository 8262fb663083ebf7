"""`toy-compositional`: six tasks like GenEval's, as far as drawn shapes have them.

GenEval (Ghosh et al. 2023, arXiv:2310.11513) asks of a picture only what its task is about, and so
do these. The prompts are captions of the source's own grammar, so they ask for composition and not
for language that the training never had. Each is the caption of a scene that can be drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from dmtool.data.judge import Judgement
from dmtool.data.scene import ObjectKind, Pair, Scene
from dmtool.data.shapes import arranged


@dataclass(frozen=True)
class Task:
    """Prompts of so many objects, that differ in some fields; a picture shows `aspects` of them.

    `aspects` are fields of `judge.Match`, all at once; none: the number of objects alone.
    """

    counts: tuple[int, ...]
    differ: tuple[str, ...]
    aspects: tuple[str, ...]

    def suits(self, kinds: Sequence[ObjectKind]) -> bool:
        """Whether the objects differ as they should."""
        return all(
            len({getattr(kind, name) for kind in kinds}) == len(kinds) for name in self.differ
        )

    def passed(self, verdict: Judgement) -> bool:
        """Whether a picture shows what the task is about."""
        return verdict.shows(*self.aspects) if self.aspects else verdict.objects


TASKS = {
    "single_object": Task((1,), (), ("shapes",)),
    "two_objects": Task((2,), ("shape",), ("shapes",)),
    "counting": Task((2, 3), (), ()),
    "colours": Task((1,), (), ("shapes", "colours")),
    "position": Task((2,), ("shape",), ("shapes", "relations")),
    "colour_attribution": Task((2,), ("shape", "colour"), ("shapes", "colours")),
}


class Prompt(NamedTuple):
    """A caption, a scene that it describes, and the task."""

    task: str
    caption: str
    scene: Scene


def prompts(each: int, least: int, most: int, held: Collection[Pair]) -> list[Prompt]:
    """`each` prompts of every task of `least` to `most` objects, without pairs of `held`.

    And as many with such pairs, if there are any. A prompt depends on its task, number and `held`
    alone: the set is the same for every run of the same data.
    """
    found = []
    for name, task in TASKS.items():
        counts = [count for count in task.counts if least <= count <= most]
        for unseen in [False, True] if held else [False]:
            for number in range(each) if counts else ():
                count = counts[number % len(counts)]
                found.append(_prompt(name, number, count, held, unseen))
    return found


def _prompt(name: str, number: int, count: int, held: Collection[Pair], unseen: bool) -> Prompt:
    def wanted(kinds: Sequence[ObjectKind]) -> bool:
        return TASKS[name].suits(kinds) and any(kind.pair in held for kind in kinds) == unseen

    random = Random(f"toy-compositional {name} {unseen} {number}")
    scene, caption = arranged(random, count, wanted)
    return Prompt(name, caption, scene)
