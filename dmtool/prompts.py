r"""Prompts as they are given: lines of a file, and templates that become prompts.

`{red|blue} heart` is one of its options, `__colour__` a line of the list colour.txt, and both may
hold others: as in the templates of dynamic-prompts, one is drawn for each picture, or all of them
are made. A backslash takes `{ | } _` for themselves and stays where it is, so that a prompt that
has come of a template is a template of itself alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import torch

from dmtool.errors import UserError
from dmtool.rng import generator

MOST = 10_000
"""Prompts that one template may be combined to."""

PIECE = re.compile(r"\\.|__(?P<name>[a-zA-Z0-9][\w/-]*?)__|(?P<mark>[{|}])|[^\\{|}_]+|.", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """One of these."""

    options: list[Template]

    def draw(self, numbers: torch.Generator) -> str:
        place = torch.randint(len(self.options), (1,), generator=numbers).item()
        return self.options[int(place)].draw(numbers)

    def every(self) -> Iterator[str]:
        for option in self.options:
            yield from option.every()

    def count(self) -> int:
        return sum(option.count() for option in self.options)


@dataclass(frozen=True)
class Template:
    """Texts and choices, one after another."""

    parts: list[str | Choice] = field(default_factory=list)

    def draw(self, numbers: torch.Generator) -> str:
        """One prompt; all options of a choice are equally likely."""
        return "".join(p if isinstance(p, str) else p.draw(numbers) for p in self.parts)

    def every(self) -> Iterator[str]:
        """All prompts, the last choice changing first."""
        several = ([p] if isinstance(p, str) else list(p.every()) for p in self.parts)
        yield from map("".join, product(*several))

    def count(self) -> int:
        return math.prod(part.count() for part in self.parts if isinstance(part, Choice))


@dataclass
class Wildcards:
    """The lists that `__name__` names: NAME.txt in a folder, if one was given."""

    folder: Path | None
    known: dict[str, Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is not None and not self.folder.is_dir():
            raise UserError(f"--wildcards {self.folder}: there is no such folder")

    def drawn(self, prompt: str, seed: int, i: int, purpose: str = "prompt") -> str:
        """Picture i's prompt, drawn from (seed, i) alone."""
        return self.template(prompt).draw(generator(seed, "wildcards", purpose, i))

    def combined(self, prompt: str) -> list[str]:
        """All prompts of a template; UserError if they are too many."""
        template = self.template(prompt)
        if template.count() > MOST:
            raise UserError(
                f"the prompt {_short(prompt)} has {template.count():,} combinations, more than "
                f"{MOST:,}: leave out --combine, and one is drawn for each picture"
            )
        return list(template.every())

    def template(self, prompt: str, within: tuple[str, ...] = ()) -> Template:
        """A prompt's template; UserError for braces or names that fit nothing. `within` are the
        lists that it stands in."""
        levels = [[Template()]]  # of braces; in each the options so far
        for piece in PIECE.finditer(prompt):
            match piece["mark"]:
                case "{":
                    levels.append([Template()])
                case "|" if len(levels) > 1:
                    levels[-1].append(Template())
                case "}":
                    if len(levels) == 1:
                        raise UserError(f"the prompt {_short(prompt)}: '}}' closes nothing; "
                                        "the character itself is \\}")  # fmt: skip
                    choice = Choice(levels.pop())
                    levels[-1][-1].parts.append(choice)
                case _:
                    name = piece["name"]
                    part = self._list(name, within) if name else piece[0]
                    levels[-1][-1].parts.append(part)
        if len(levels) > 1:
            raise UserError(f"the prompt {_short(prompt)}: '{{' is never closed; "
                            "the character itself is \\{")  # fmt: skip
        return levels[0][0]

    def _list(self, name: str, within: tuple[str, ...]) -> Choice:
        if name in within:
            raise UserError(
                f"the wildcard __{name}__ contains itself, by way of {' > '.join(within)}"
            )
        if name not in self.known:
            within = (*within, name)
            self.known[name] = Choice([self.template(line, within) for line in self._read(name)])
        return self.known[name]

    def _read(self, name: str) -> list[str]:
        if self.folder is None:
            raise UserError(f"__{name}__ is a line of {name}.txt: give its folder, --wildcards DIR")
        path = self.folder / f"{name}.txt"
        if not path.is_file():
            there = sorted(p.stem for p in self.folder.glob("*.txt"))
            raise UserError(f"__{name}__: there is no {path} (there are: {', '.join(there)})")
        return lines(path)


def gathered(prompts: Sequence[str], file: Path | None, wildcards: Wildcards | None) -> list[str]:
    """The prompts of the command line, and after them those of a file; `wildcards` combines all.

    UserError if there are none.
    """
    found = [*prompts, *(lines(file) if file else [])]
    if not found:
        raise UserError("say what to paint: --prompt TEXT, or --prompts FILE with one a line")
    if wildcards is None:
        return found
    return [each for prompt in found for each in wildcards.combined(prompt)]


def lines(path: Path) -> list[str]:
    """The lines of a text file, but for empty ones and comments, which begin with #.

    UserError if it cannot be read as UTF-8 or has none.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}") from error
    found = [line.strip() for line in content.splitlines()]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        raise UserError(f"{path} has no lines but empty ones and comments")
    return found


def _short(prompt: str) -> str:
    return ascii(prompt[:60])
