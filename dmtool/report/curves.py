"""Curves of trainings as SVG, one drawing for light pages and one for dark ones."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dmtool import metrics
from dmtool.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS, COLUMNS = 9, 3
POINTS = 400
"""Points of a curve, at most: more are not seen, and make the page large."""

STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "font.size": 8,
    "lines.linewidth": 1.3,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "dmtool",
}
INK = {"light": "#1d2129", "dark": "#e6e8ec"}
COLOURS = {
    "light": ("#2563c9", "#c2410c", "#15803d", "#9333ea", "#a16207", "#be185d"),
    "dark": ("#7fb0ff", "#ff9f68", "#6fd08c", "#cf9cff", "#e3c04f", "#ff8fc4"),
}


@dataclass(frozen=True)
class Drawn:
    """A drawing as data: URIs of SVG."""

    title: str
    light: str
    dark: str


def of_stages(stage: str, lines: Mapping[str, list[metrics.Line]]) -> Drawn:
    """The figures of a stage over pictures seen, with a line for each run."""
    names = list({name: None for each in lines.values() for name in _moving(each)})[:PANELS]
    return drawn(f"{stage}: {', '.join(names)}", lambda figure: _panels(figure, names, lines))


def drawn(title: str, draw: Callable[[Figure], None]) -> Drawn:
    """What `draw` puts on an empty figure, in both themes; UserError without matplotlib."""
    require("matplotlib", "plot")
    return Drawn(title, *(_svg(draw, theme) for theme in ("light", "dark")))


def _svg(draw: Callable[[Figure], None], theme: str) -> str:
    from cycler import cycler
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ink = dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"),
        INK[theme],
    )
    with rc_context(STYLE | ink | {"axes.prop_cycle": cycler(color=COLOURS[theme])}):
        figure = Figure(layout="constrained")
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


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
