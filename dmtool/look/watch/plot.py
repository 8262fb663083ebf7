"""Curves drawn with characters: braille has 2 x 4 dots in each, ASCII is made to have 1 x 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]
Dots = dict[tuple[int, int], set[tuple[int, int]]]

BRAILLE = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot in a braille character, by column and row."""

LABEL = 8  # characters


def panel(
    name: str, points: Sequence[Point], end: float, width: int, height: int, unicode: bool
) -> list[str]:
    """`height` lines of at most `width` characters: the name with the latest value, and the curve.

    The x axis goes from 0 to `end`; the two ends of the y axis stand beside the first and the last
    row. Values that are not finite are left out. What falls by more than a factor of ten has a
    logarithmic axis.
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    title = f"{name} {_short(points[-1][1])}"
    if not finite:
        return [title[:width]] + [""] * (height - 1)
    low, high = (side(y for _, y in finite) for side in (min, max))
    log = low > 0 and high > 10 * low
    scaled = [(x, math.log(y) if log else y) for x, y in finite]
    rows = _draw(scaled, end, width - LABEL - 2, height - 1, unicode)
    labels = [_short(high), *[""] * (height - 3), _short(low)] if height > 2 else [_short(high)]
    axis = "│" if unicode else "|"
    title += " (log axis)" if log else ""
    body = [f"{label:>{LABEL}} {axis}{row}" for label, row in zip(labels, rows, strict=True)]
    return [title[:width], *body]


def _draw(points: Sequence[Point], end: float, width: int, height: int, unicode: bool) -> list[str]:
    """The points joined by lines in a field of characters."""
    per_column, per_row = (2, 4) if unicode else (1, 2)
    places = _places(points, end, width * per_column, height * per_row)
    dots: Dots = {}
    for x, y in _joined(places):
        cell, within = (x // per_column, y // per_row), (x % per_column, y % per_row)
        dots.setdefault(cell, set()).add(within)
    character = _braille if unicode else _ascii
    rows = [
        "".join(character(dots.get((x, y), set())) for x in range(width)) for y in range(height)
    ]
    return [row.rstrip() for row in rows]


def _places(points: Sequence[Point], end: float, width: int, height: int) -> list[tuple[int, int]]:
    """Points in dots from the upper left; y fills the height."""
    top, bottom = (side(y for _, y in points) for side in (max, min))
    up = (height - 1) / (top / 2 - bottom / 2 or 1)  # halves, whose difference is always finite
    return [(round(x / end * (width - 1)), round((top / 2 - y / 2) * up)) for x, y in points]


def _joined(places: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """All dots on the lines from each place to the next."""
    found = set(places)
    for (x, y), (to_x, to_y) in pairwise(places):
        count = max(abs(to_x - x), abs(to_y - y))
        found |= {
            (round(x + (to_x - x) * i / count), round(y + (to_y - y) * i / count))
            for i in range(1, count)
        }
    return found


def _braille(dots: set[tuple[int, int]]) -> str:
    return chr(0x2800 + sum(BRAILLE[x][y] for x, y in dots)) if dots else " "


def _ascii(dots: set[tuple[int, int]]) -> str:
    return {(): " ", (0,): "'", (1,): ".", (0, 1): ":"}[tuple(sorted(y for _, y in dots))]


def _short(value: float) -> str:
    """A number in at most eight characters."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"[:LABEL]
