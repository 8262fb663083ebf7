"""What a terminal can show: its size, colours and characters."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

Colours = Literal["true", "256", "none"]


@dataclass(frozen=True)
class Terminal:
    """`unicode`: whether block and braille characters can be written."""

    width: int
    height: int
    colours: Colours
    unicode: bool


def here() -> Terminal:
    """The terminal of stdout as it is now; NO_COLOR and FORCE_COLOR are heeded."""
    size = shutil.get_terminal_size()
    encoding = (sys.stdout.encoding or "ascii").lower()
    return Terminal(size.columns, size.lines, _colours(), encoding.startswith("utf"))


def _colours() -> Colours:
    kind = os.environ.get("TERM", "dumb")
    forced = bool(os.environ.get("FORCE_COLOR"))
    if os.environ.get("NO_COLOR") or not (forced or sys.stdout.isatty()):
        return "none"
    if os.environ.get("COLORTERM") in ("truecolor", "24bit") or kind.endswith("-direct"):
        return "true"
    return "256" if forced or "256color" in kind else "none"
