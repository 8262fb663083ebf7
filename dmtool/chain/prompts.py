r"""Prompts as they are given: lines of a file, and `templates` that become prompts.

One is drawn for each picture, or all of them are made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from dmtool.chain.templates import Choice, Template, parse, short, weighted, weights
from dmtool.errors import UserError
from dmtool.rng import generator

MOST = 10_000
"""Prompts that one template may be combined to."""
SHOWN = 20
"""Lists that a message names, at most."""


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
        count = template.count()
        if count > MOST:
            said = f"{count:,.0f}" if count < math.inf else "countless"
            raise UserError(
                f"the prompt {short(prompt)} has {said} combinations, more than "
                f"{MOST:,}: leave out --combine, and one is drawn for each picture"
            )
        return list(template.every())

    def template(self, prompt: str, within: tuple[str, ...] = ()) -> Template:
        """A prompt's template; UserError for braces or names that fit nothing. `within` are the
        lists that it stands in."""
        return parse(prompt, lambda name: self._list(name, within))

    def _list(self, name: str, within: tuple[str, ...]) -> Choice:
        if name in within:
            raise UserError(
                f"the wildcard __{name}__ contains itself, by way of {' > '.join(within)}"
            )
        if name not in self.known:
            within = (*within, name)
            found, texts = zip(*map(weighted, lines(self._file(name))), strict=True)
            options = [self.template(text, within) for text in texts]
            self.known[name] = Choice(options, weights(list(found)))
        return self.known[name]

    def _file(self, name: str) -> Path:
        """The file of a list, which may be named with its suffix."""
        stem = name[:-4] if name.lower().endswith(".txt") else name
        if self.folder is None:
            raise UserError(
                f"__{name}__ is a line of {stem}.txt: give its folder, --wildcards DIR (or write "
                f"\\__{name}__ for the text itself)"
            )
        inside = not PurePath(name).is_absolute() and ".." not in PurePath(name).parts
        for path in (self.folder / each for each in (f"{name}.txt", f"{name}.TXT", name)):
            if inside and path.suffix.lower() == ".txt" and path.is_file():
                return path
        raise UserError(
            f"__{name}__: there is no {self.folder / stem}.txt (there are: {self._names()}); the "
            f"text itself is \\__{name}__"
        )

    def _names(self) -> str:
        assert self.folder is not None
        files = (path for path in self.folder.rglob("*") if path.suffix.lower() == ".txt")
        names = sorted(p.relative_to(self.folder).with_suffix("").as_posix() for p in files)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return (", ".join(names[:SHOWN]) or "none") + more


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
