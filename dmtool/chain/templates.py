r"""Templates: texts, and choices that become texts.

The language is that of dynamic-prompts (its docs/SYNTAX.md, but for variables and samplers):

    {red|blue}                 one of the options, all equally likely
    {3::red|blue}              red three times as often: a weight is 1 unless it is said
    {2$$a|b|c}                 two of them, none twice, in any order, joined by ", "
    {1-2$$ and $$a|b|c}        one or two, joined by " and "; {-2$$...} is from 1, {2-$$...} to all
    __colour__                 a line of a list, with a weight in front of it or none

A backslash takes `{ | } _ : $` for themselves and stays where it is, so that what has come of a
template is a template of itself alone. What looks like this syntax and is none is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations, product

import torch

from dmtool.errors import UserError

JOINT = ", "
DEEPEST = 50
"""Braces within braces."""
SEVERAL = 20
"""Options at once from which their orders are not counted any more: there are more than 10^18."""

PIECE = re.compile(
    r"\\.|__(?P<name>[^\s_{}|\\$](?:[^{}|\\$\n]*?[^\s{}|\\$])??)\s*__"
    r"|(?P<foreign>\$\{|\{[@~])"
    r"|(?P<mark>\{)(?:(?P<count>[^{}|\\$]*)\$\$(?:(?P<joint>(?:\\.|[^{}|\\$_])*)\$\$)?)?"
    r"|(?P<closes>[|}])|(?P<stray>::|\$\$)|[^\\{|}_:$]+|.",
    re.DOTALL,
)
WEIGHT = re.compile(r"\s*(?P<weight>[^{}|\\:()]*?)\s*::")
NUMBER = re.compile(r"[-+\d.]+")
COUNT = re.compile(r"\s*(?:(?P<exact>\d+)|(?P<low>\d*)-(?P<high>\d*))\s*")


@dataclass(frozen=True)
class Choice:
    """Between `low` and `high` of the options, none twice, in any order, joined by `joint`.

    Without `weights` all options are equally likely.
    """

    options: list[Template]
    weights: list[float] | None = None
    low: int = 1
    high: int = 1
    joint: str = JOINT

    def draw(self, numbers: torch.Generator) -> str:
        many = self.low
        if self.high > self.low:
            many += _below(self.high - self.low + 1, numbers)
        left = list(range(len(self.options)))
        chosen = [left.pop(self._place(left, numbers)) for _ in range(many)]
        return self.joint.join(self.options[i].draw(numbers) for i in chosen)

    def _place(self, left: list[int], numbers: torch.Generator) -> int:
        """The place in `left` of the option that is drawn next."""
        if self.weights is None:
            return _below(len(left), numbers)
        ends = torch.tensor([self.weights[i] for i in left], dtype=torch.float64).cumsum(0)
        drawn = torch.rand(1, dtype=torch.float64, generator=numbers) * ends[-1]
        return min(int(torch.searchsorted(ends, drawn, right=True)), len(left) - 1)

    def every(self) -> Iterator[str]:
        for many in range(self.low, self.high + 1):
            for chosen in permutations(self.options, many):
                yield from map(self.joint.join, product(*(list(one.every()) for one in chosen)))

    def count(self) -> float:
        """How many texts there are, up to `SEVERAL` options at once."""
        if self.high > SEVERAL:
            return math.inf
        chosen = [1.0] + [0.0] * self.high  # by how many they are, without their orders
        for option in self.options:
            ways = option.count()
            for many in range(self.high, 0, -1):
                chosen[many] += chosen[many - 1] * ways
        several = range(self.low, self.high + 1)
        return sum(chosen[many] * math.factorial(many) for many in several)


@dataclass(frozen=True)
class Template:
    """Texts and choices, one after another."""

    parts: list[str | Choice] = field(default_factory=list)

    def draw(self, numbers: torch.Generator) -> str:
        """One text of them."""
        return "".join(p if isinstance(p, str) else p.draw(numbers) for p in self.parts)

    def every(self) -> Iterator[str]:
        """All texts, the last choice changing first."""
        several = ([p] if isinstance(p, str) else list(p.every()) for p in self.parts)
        yield from map("".join, product(*several))

    def count(self) -> float:
        return math.prod(part.count() for part in self.parts if isinstance(part, Choice))


Lists = Callable[[str], Choice]
"""The list of a name."""


def parse(prompt: str, lists: Lists) -> Template:
    """The template that is written in `prompt`; UserError for what fits nothing."""
    whole, open_braces, place = Template(), list[_Brace](), 0
    while place < len(prompt):
        piece = PIECE.match(prompt, place)
        assert piece
        place, inside = piece.end(), open_braces[-1] if open_braces else None
        here = inside.options[-1] if inside else whole
        if piece["mark"]:
            open_braces.append(_Brace(prompt, piece["count"], piece["joint"]))
            place = _deeper(open_braces, prompt).option(place)
        elif piece["closes"] == "|" and inside:
            place = inside.option(place)
        elif piece["closes"] == "}":
            if inside is None:
                raise _mistake(prompt, "'}' closes nothing", "}")
            open_braces.pop()
            outer = open_braces[-1].options[-1] if open_braces else whole
            outer.parts.append(inside.choice())
        elif piece["foreign"]:
            raise _foreign(prompt, piece["foreign"])
        elif piece["stray"] and inside:
            raise _stray(prompt, piece["stray"])
        else:
            here.parts.append(lists(piece["name"]) if piece["name"] else piece[0])
    if open_braces:
        raise _mistake(prompt, "'{' is never closed", "{")
    return whole


def weighted(line: str) -> tuple[float | None, str]:
    """The weight in front of a list's line, if there is one, and the rest of it."""
    found = WEIGHT.match(line)
    if found is None or not NUMBER.fullmatch(found["weight"]):
        return None, line
    return _weight(line, found["weight"]), line[found.end() :]


def weights(found: list[float | None]) -> list[float] | None:
    """Of options: 1 where none is said, and None if none is said at all."""
    return [1.0 if each is None else each for each in found] if any(found) else None


class _Brace:
    """What has been read of a choice that is not closed yet."""

    def __init__(self, prompt: str, count: str | None, joint: str | None) -> None:
        self.prompt, self.count, self.joint = prompt, count, joint
        self.options = list[Template]()
        self.weights = list[float | None]()

    def option(self, place: int) -> int:
        """Begin another option at a place of the prompt; returns where its text begins."""
        found = WEIGHT.match(self.prompt, place)
        self.options.append(Template())
        self.weights.append(_weight(self.prompt, found["weight"]) if found else None)
        return found.end() if found else place

    def choice(self) -> Choice:
        options, found = self.options, weights(self.weights)
        if self.count is None:
            return Choice(options, found)
        if alone := _alone(options):
            options, found = alone.options, alone.weights
        low, high = self._bounds(len(options))
        return Choice(options, found, low, high, JOINT if self.joint is None else self.joint)

    def _bounds(self, most: int) -> tuple[int, int]:
        """How many options there may be, of `most`."""
        assert self.count is not None
        found = COUNT.fullmatch(self.count)
        if not found or not re.search(r"\d", self.count):
            raise _mistake(self.prompt, f"{self.count!r} before '$$' is no count: 2, 1-3, -3 or 2-",
                           "$")  # fmt: skip
        low, high = found["exact"] or found["low"] or "1", found["exact"] or found["high"] or most
        if int(low) > int(high):
            raise _mistake(self.prompt, f"the count {self.count!r} ends before it begins", "$")
        return min(int(low), most), min(int(high), most)


def _alone(options: list[Template]) -> Choice | None:
    """The list that is the only option: a count is then of its lines."""
    parts = [part for part in options[0].parts if not (isinstance(part, str) and part.isspace())]
    if len(options) == 1 and len(parts) == 1 and isinstance(parts[0], Choice):
        return parts[0] if parts[0].low == parts[0].high == 1 else None
    return None


def _deeper(braces: list[_Brace], prompt: str) -> _Brace:
    if len(braces) > DEEPEST:
        raise _mistake(prompt, f"more than {DEEPEST} braces stand within one another", "{")
    return braces[-1]


def _below(n: int, numbers: torch.Generator) -> int:
    return int(torch.randint(n, (1,), generator=numbers).item())


def _weight(prompt: str, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        what = f"{word!r} before '::' is no weight, which is a number above 0"
        raise _mistake(prompt, what, ":")
    return number


def _foreign(prompt: str, piece: str) -> UserError:
    if piece[0] == "$":
        return _mistake(prompt, "there are no variables, ${...}", "$")
    return UserError(
        f"the prompt {short(prompt)}: '{piece}' names a sampler of dynamic-prompts, and options "
        f"are always drawn at random: leave it out; the character itself is {{1::{piece[1]}"
    )


def _stray(prompt: str, piece: str) -> UserError:
    rule = "a weight stands at the beginning of an option" if piece == "::" else (
        "a count stands at the beginning of the braces, and once behind it what joins the options"
    )  # fmt: skip
    return _mistake(prompt, f"'{piece}' stands where it means nothing: {rule}", piece[0])


def _mistake(prompt: str, what: str, character: str) -> UserError:
    return UserError(f"the prompt {short(prompt)}: {what}; the character itself is \\{character}")


def short(prompt: str) -> str:
    return ascii(prompt[:60])
