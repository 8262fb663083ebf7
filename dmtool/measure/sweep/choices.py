"""Hydra words with several values, as combinations of words with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from dmtool.config.compose import choices
from dmtool.errors import UserError


@dataclass(frozen=True)
class Setting:
    """All `words` of one combination; `chosen` are those that had several values, of which the
    last is where along its curve it lies, and those before it name the curve."""

    words: list[str]
    chosen: list[str]

    @property
    def curve(self) -> str:
        return " ".join(self.chosen[:-1])

    @property
    def label(self) -> str:
        return " ".join(self.chosen)


def combinations(words: Sequence[str]) -> list[Setting]:
    """Every combination of the words' values: guidance.scale=1,2 sampler=heun,unipc are four.

    Lists are written as for Hydra's -m (`a,b`, `choice(a,b)`, `range(1,5)`). UserError if no word
    has several values, or one cannot be read.
    """
    values = [choices(word) for word in words]
    if all(len(each) == 1 for each in values):
        raise UserError("give some setting several values: guidance.scale=1,1.5,2,3")
    several = [i for i, each in enumerate(values) if len(each) > 1]
    return [Setting(list(words), [words[i] for i in several]) for words in product(*values)]
