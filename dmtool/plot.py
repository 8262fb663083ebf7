"""Plots by matplotlib, as SVG: one for light pages and one for dark ones.

def draw(figure):
    figure.set_size_inches(4, 3)
    figure.subplots().plot([0, 1], [0, 1])

svg(draw)                  # the text of an SVG file, for a light page
drawn("a line", draw)      # both themes as data: URIs, for a page that holds all it shows
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dmtool.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Theme = Literal["light", "dark"]

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


def drawn(title: str, draw: Callable[[Figure], None]) -> Drawn:
    """What `draw` puts on an empty figure, in both themes; UserError without matplotlib."""
    return Drawn(title, _uri(svg(draw, "light")), _uri(svg(draw, "dark")))


def svg(draw: Callable[[Figure], None], theme: Theme = "light") -> str:
    """The text of an SVG file, the same for the same drawing; UserError without matplotlib."""
    require("matplotlib", "plot")
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
    return file.getvalue().decode()


def _uri(text: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode()}"
