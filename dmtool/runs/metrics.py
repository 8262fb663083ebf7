"""metrics.jsonl: what a run has logged, one JSON object a line, in the order of pictures seen."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from dmtool.config.validation import short
from dmtool.files import reading
from dmtool.files.atomic import write_text
from dmtool.say import counted

log = logging.getLogger(__name__)

Line = dict[str, Any]
"""`pictures` and `seconds` (of training), and figures by name; or `alert` and what it says."""

NAME = "metrics.jsonl"
KINDS: dict[str, Any] = {"alert": str, "pictures": int}
"""Of what is not a number."""
COUNTS = {"pictures", "seconds", "skipped", "rollbacks"}
"""Of what is never below zero."""
LONGEST = 2**16
"""Bytes of a line: more than any has."""
FIRST = ("loss", "pictures_per_second", "lr", "grad_norm")
"""Figures that are shown first, after them all others; held-out ones follow the loss."""


def read(path: Path) -> list[Line]:
    """The whole lines of a file that may be growing, or was cut by a kill; none if it is absent.

    Lines that say something else are left out, and the first of them is named in a warning.
    """
    lines, bad = list[Line](), list[str]()
    try:
        with reading.opened(path) as file:
            for number, text in enumerate(_whole(file), 1):
                try:
                    lines += [_line(text)] if text.strip() else []
                except ValueError as error:
                    bad.append(f"line {number}: {error}")
    except reading.Missing:
        return []
    except OSError as error:
        raise reading.Unreadable(f"{path} cannot be read: {error.strerror}") from error
    if bad:
        count = counted(len(bad), "line is", "lines are")
        _warn(f"{path}: {count} damaged and left out; the first is {bad[0]}")
    return lines


def _whole(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a log but a last one that is being written. Of a line longer than any no more
    is in memory than its beginning, which is no line."""
    while text := file.readline(LONGEST):
        long = len(text) == LONGEST and not text.endswith(b"\n")
        if long or text.endswith((b"\n", b"}")):
            yield text
        while long:
            text = file.readline(LONGEST)
            long = len(text) == LONGEST and not text.endswith(b"\n")


def _line(text: bytes) -> Line:
    """ValueError if it is none."""
    line = reading.parsed(text.decode(), "it")
    if not isinstance(line, dict) or not {"pictures", "seconds"} <= line.keys():
        raise ValueError("it has no pictures and seconds")
    for name, value in line.items():
        kind = KINDS.get(name, int | float)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} is {short(value)}")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(f"{name} is too large")
    for name in COUNTS & line.keys():
        if not 0 <= line[name] < math.inf:
            raise ValueError(f"{name} is {line[name]}")
    return line


@lru_cache
def _warn(text: str) -> None:
    """Once: watching reads the file over and over."""
    log.warning("%s", text)


def append(path: Path, line: Line) -> None:
    """Add a line, in one write: lines of several threads do not mix."""
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def forget_after(path: Path, pictures: int, measured: bool = False) -> int:
    """Drop the lines that a run going on from `pictures` will write again.

    With `measured` it will also measure at `pictures` itself again. Returns the pictures of the
    last line that was there: so far it has been told to others.
    """
    lines = read(path)
    if lines:
        kept = [line for line in lines if not _again(line, pictures, measured)]
        write_text(path, "".join(f"{json.dumps(line)}\n" for line in kept))
    return max((line["pictures"] for line in lines), default=0)


def _again(line: Line, pictures: int, measured: bool) -> bool:
    """Whether a line will be written again; the figures of steps have a learning rate."""
    if measured and line["pictures"] == pictures:
        return not {"lr", "alert"} & line.keys()
    return bool(line["pictures"] > pictures)


def series(lines: list[Line], name: str) -> list[tuple[int, float]]:
    """(pictures, value) of a figure wherever it was logged."""
    return [(line["pictures"], float(line[name])) for line in lines if name in line]


def names(lines: list[Line]) -> list[str]:
    """All figures in the order of their interest."""
    every = {name: None for line in lines for name in line}
    others = [name for name in every if name not in ("pictures", "seconds", "alert")]
    held_out = [name for name in others if name.startswith("val_")]
    order = [FIRST[0], *held_out, *FIRST[1:]]
    return [name for name in order if name in every] + [
        name for name in others if name not in order
    ]


def quarters(values: list[float]) -> list[float]:
    """The medians of the four quarters of at least four values."""
    n = len(values)
    return [statistics.median(values[i * n // 4 : (i + 1) * n // 4]) for i in range(4)]
