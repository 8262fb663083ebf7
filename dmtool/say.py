"""What is said to the user. All text goes through here: much of it comes from files."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What moves the cursor, colours, retitles or answers for the user on a terminal; what turns the
direction of text; and halves of characters, which cannot be written at all."""


def shown(text: object) -> str:
    r"""The text with what a terminal would obey spelled out: `\x1b` for the escape character."""
    return HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def say(*lines: object, sep: str = "\n", error: bool = False) -> None:
    """Print lines to the user, above the progress bars; `error`: to stderr."""
    stream = sys.stderr if error else sys.stdout
    if not lines or stream is None:
        return
    text = shown(sep.join(map(str, lines)))
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(text, file=stream)
    else:
        print(text, file=stream)
    stream.flush()


def counted(count: int, one: str, several: str | None = None) -> str:
    """A number and what it counts: "1 picture", "2,000 pictures"; `several` if it adds no s."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def columns(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
