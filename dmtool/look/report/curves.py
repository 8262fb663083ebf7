"""Curves of trainings, a panel for each figure, in both themes of a page."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmtool.draw import plot
from dmtool.runs import metrics

PANELS = 9
POINTS = 400
"""Points of a curve, at most: more are not seen, and make the page large."""


@dataclass(frozen=True)
class Drawn:
    """A drawing as data: URIs of SVG, for light pages and for dark ones."""

    title: str
    light: str
    dark: str


def of_stages(stage: str, lines: Mapping[str, list[metrics.Line]]) -> Drawn | None:
    """The figures of a stage over pictures seen, with a line for each run; None as long as none
    has moved, as after a first line."""
    names = list({name: None for each in lines.values() for name in _moving(each)})[:PANELS]
    if not names:
        return None
    panels = [
        _panel(name, {run: metrics.series(each, name) for run, each in lines.items()})
        for name in names
    ]
    both = (_uri(plot.svg(plot.page(panels, theme=theme))) for theme in (plot.LIGHT, plot.DARK))
    return Drawn(f"{stage}: {', '.join(names)}", *both)


def _uri(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _moving(lines: list[metrics.Line]) -> list[str]:
    """The figures that are not one value all the time."""
    names = metrics.names(lines)
    return [name for name in names if len({y for _, y in metrics.series(lines, name)}) > 1]


def _panel(name: str, series: Mapping[str, list[tuple[int, float]]]) -> plot.Panel:
    """Curves of one figure; the axis is logarithmic where the values span more than a decade."""
    curves = [_curve(run, _thinned(points)) for run, points in series.items() if points]
    values = [y for points in series.values() for _, y in points if math.isfinite(y)]
    log = bool(values) and min(values) > 0 and max(values) > 10 * min(values) and name != "lr"
    return plot.Panel(name, "thousand pictures", curves, log_y=log)


def _curve(run: str, points: Sequence[tuple[float, float]]) -> plot.Curve:
    x, y = zip(*points, strict=True)
    return plot.Curve(run, x, y, marks=len(points) < 8)


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """(thousands of pictures, value) of at most about `POINTS` points, each the mean of as many."""
    size = max(1, len(points) // POINTS)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(part[-1][0] / 1000, sum(y for _, y in part) / len(part)) for part in parts]
