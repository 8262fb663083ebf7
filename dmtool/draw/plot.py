"""Figures for files and reports: curves and strips of pictures, as PNG or SVG.

What is drawn is data first, and a page of it looks the same everywhere:

    from dmtool import plot
    speed = plot.Curve("heun", calls, distances, spread=deviations, marks=True)
    panel = plot.Panel("Distance", "calls", [speed], y="FD", log_x=True)
    plot.write(plot.page([panel]), Path("distance.png"))  # or .svg
    html = plot.svg(plot.page([panel], theme=plot.DARK))  # an <svg> element to stand in HTML

A name has one colour on the whole page, and one entry in its legend. `page` gives matplotlib's
Figure, for what else there is to draw; its Agg and SVG backends need no display.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from dmtool.errors import UserError, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARK = "dmtool"
"""Of what wrote a figure, in the file."""

COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#5a5a5a"
"""Told apart by colour-blind readers as well (Okabe & Ito's, a violet and a grey)."""

DASHES = "-", "--", ":", "-."
WIDEST, NARROWEST = 2.2, 1.2
"""Widths of the first and the last curve: one that lies over another shows both."""


@dataclass(frozen=True)
class Theme:
    """Colours of text, of rules and of what is behind them."""

    ink: str
    rule: str
    paper: str

    @property
    def style(self) -> Any:
        """matplotlib's settings."""
        ink = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
        paper = ("axes.facecolor", "figure.facecolor", "savefig.facecolor")
        colours = dict.fromkeys(ink, self.ink) | dict.fromkeys(paper, self.paper)
        return STYLE | colours | {"grid.color": self.rule}


LIGHT = Theme(ink="#40444c", rule="#e2e4e8", paper="#ffffff")
DARK = Theme(ink="#c9cdd4", rule="#2d333d", paper="#14171c")

INCH_A_LETTER = 0.085
"""Of a name beside a curve."""

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.dpi": 150,
    "font.size": 9,
    "lines.markersize": 4,
    "svg.fonttype": "none",
    "svg.hashsalt": "dmtool",
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Curve:
    """Points (x, y), joined by lines; those that are not finite are left out.

    `spread` is drawn as a band of +- so much about y; `marks` shows each point; `labels` stand
    beside the points.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    spread: ArrayLike | None = None
    marks: bool = False
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """Curves over common axes: `x` and `y` are the axes' labels, `limits` the ends of y's."""

    title: str
    x: str
    curves: Sequence[Curve]
    y: str = ""
    log_x: bool = False
    log_y: bool = False
    limits: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Strip:
    """Pictures of one size side by side, each with its label below."""

    title: str
    pictures: Sequence[Image.Image]
    labels: Sequence[str]


def page(
    panels: Sequence[Panel],
    strips: Sequence[Strip] = (),
    columns: int = 3,
    theme: Theme = LIGHT,
    inches: tuple[float, float] = (3.6, 2.6),
) -> Figure:
    """The panels, of so many `inches`, in rows of `columns`, and below them the strips over the
    whole width.

    UserError if matplotlib, of the extra `plot`, is not installed.
    """
    require("matplotlib", "plot")
    import matplotlib
    from matplotlib.figure import Figure

    columns = min(columns, len(panels)) or 1
    rows = -(-len(panels) // columns)
    width = inches[0] * columns
    heights = [inches[1]] * rows + [_height(strip, width) for strip in strips]
    with matplotlib.rc_context(theme.style):
        figure = Figure((width, sum(heights) + 0.5), layout="constrained")
        grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
        looks = _looks(panels)
        for number, panel in enumerate(panels):
            _draw(figure.add_subplot(grid[divmod(number, columns)]), panel, looks)
        for row, strip in enumerate(strips, rows):
            _show(figure.add_subplot(grid[row, :]), strip)
        if len(looks) > 1:
            _legend(figure, looks)
    return figure


def write(figure: Figure, path: Path) -> None:
    """Save a page; UserError for a suffix other than .png and .svg."""
    kind = path.suffix.removeprefix(".").lower()
    if kind not in ("png", "svg"):
        raise UserError(f"{path}: a figure is written as .png or .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_rendered(figure, kind))


def svg(figure: Figure) -> str:
    """The page as an <svg> element, without XML's head, for HTML."""
    text = _rendered(figure, "svg").decode()
    return text[text.index("<svg") :]


def _rendered(figure: Figure, kind: str) -> bytes:
    """The same bytes for the same figure."""
    import matplotlib

    file = BytesIO()
    with matplotlib.rc_context(STYLE):  # the figure keeps its colours
        metadata = {"Date": None, "Creator": MARK} if kind == "svg" else {"Software": MARK}
        figure.savefig(file, format=kind, metadata=metadata, facecolor="auto")
    return file.getvalue()


def _looks(panels: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Colour, dashes and width of each name on the page."""
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    step = (WIDEST - NARROWEST) / len(names) if names else 0.0
    looks = {}
    for i, name in enumerate(names):
        again, place = divmod(i, len(COLOURS))
        dashes = DASHES[again % len(DASHES)]
        width = WIDEST - i * step
        looks[name] = {"color": COLOURS[place], "linestyle": dashes, "linewidth": width}
    return looks


def _draw(axes: Axes, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
    for curve in panel.curves:
        x, y = (np.asarray(each, float) for each in (curve.x, curve.y))
        shown, look = np.isfinite(x) & np.isfinite(y), looks[curve.name]
        axes.plot(x[shown], y[shown], marker="o" if curve.marks else "", label=curve.name, **look)
        if curve.spread is not None:
            off = np.asarray(curve.spread, float)[shown]
            bounds = y[shown] - off, y[shown] + off
            axes.fill_between(x[shown], *bounds, color=look["color"], alpha=0.18, linewidth=0)
        for place, text in zip(zip(x, y, strict=True), curve.labels, strict=False):
            axes.annotate(text, place, xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    axes.set_xscale("log" if panel.log_x else "linear")
    axes.set_yscale("log" if panel.log_y else "linear")
    axes.set_ylim(*panel.limits)


def _height(strip: Strip, width: float) -> float:
    """Inches that a strip takes of a page so wide, with its title and labels."""
    picture = strip.pictures[0]
    return width * picture.height / (picture.width * len(strip.pictures)) + 0.45


def _show(axes: Axes, strip: Strip) -> None:
    count, size = len(strip.pictures), strip.pictures[0].size
    if len(strip.labels) != count or any(picture.size != size for picture in strip.pictures):
        raise ValueError(f"{strip.title}: a strip is of pictures of one size, with a label each")
    row = np.concatenate([np.asarray(each.convert("RGB")) for each in strip.pictures], axis=1)
    axes.imshow(row, extent=(0, count, 0, size[1] / size[0]), interpolation="nearest")
    axes.set_xticks([i + 0.5 for i in range(count)], strip.labels)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_title(strip.title)


def _legend(figure: Figure, looks: dict[str, dict[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    letters = max(map(len, looks)) + 6  # and the line before each name
    columns = int(figure.get_figwidth() / INCH_A_LETTER / letters)
    columns = max(1, min(len(handles), columns))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)
