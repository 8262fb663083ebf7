"""The curves of a sweep: quality over alignment, and the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmtool.draw import plot

if TYPE_CHECKING:
    from dmtool.measure.sweep.sweep import Point


def panel(points: Sequence[Point], names: tuple[str, str]) -> plot.Panel:
    """A line for each curve, its points named by their last word's value, and the front."""
    curves = [
        _curve(name, [point for point in points if point.setting.curve == name])
        for name in dict.fromkeys(point.setting.curve for point in points)
    ]
    best = sorted((point.alignment, point.quality) for point in points if point.on_front)
    x, y = zip(*best, strict=True)
    front = plot.Curve("front", x, y)
    title = "Better is below and to the right"
    return plot.Panel(title, names[1], [*curves, front], y=names[0])


def _curve(name: str, points: Sequence[Point]) -> plot.Curve:
    x, y = [point.alignment for point in points], [point.quality for point in points]
    values = [point.setting.chosen[-1].partition("=")[2] for point in points]
    label = name or points[0].setting.chosen[-1].partition("=")[0]
    return plot.Curve(label, x, y, marks=True, labels=values)
