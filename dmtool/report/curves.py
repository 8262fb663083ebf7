"""Curves of trainings, a panel for each figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dmtool import metrics
from dmtool.plot import Drawn, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS, COLUMNS = 9, 3
POINTS = 400
"""Points of a curve, at most: more are not seen, and make the page large."""


def of_stages(stage: str, lines: Mapping[str, list[metrics.Line]]) -> Drawn:
    """The figures of a stage over pictures seen, with a line for each run."""
    names = list({name: None for each in lines.values() for name in _moving(each)})[:PANELS]
    return drawn(f"{stage}: {', '.join(names)}", lambda figure: _panels(figure, names, lines))


def _moving(lines: list[metrics.Line]) -> list[str]:
    """The figures that are not one value all the time."""
    names = metrics.names(lines)
    return [name for name in names if len({y for _, y in metrics.series(lines, name)}) > 1]


def _panels(figure: Figure, names: Sequence[str], lines: Mapping[str, list[metrics.Line]]) -> None:
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure.set_size_inches(3.4 * columns, 2.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, name in zip(axes, names, strict=False):
        _panel(axis, name, {run: metrics.series(each, name) for run, each in lines.items()})
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    if len(lines) > 1:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _panel(axis: Axes, name: str, series: Mapping[str, list[tuple[int, float]]]) -> None:
    """Curves of one figure; the axis is logarithmic where the values span more than a decade."""
    for run, points in series.items():
        kept = _thinned([(x, y) for x, y in points if math.isfinite(y)])
        marker = "." if len(kept) < 8 else ""
        axis.plot([x for x, _ in kept], [y for _, y in kept], marker=marker, label=run)
    values = [y for points in series.values() for _, y in points if math.isfinite(y)]
    if values and min(values) > 0 and max(values) > 10 * min(values) and name != "lr":
        axis.set_yscale("log")
    axis.set_title(name)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most about `POINTS` points, the mean of as many in a row."""
    size = max(1, len(points) // POINTS)
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]
