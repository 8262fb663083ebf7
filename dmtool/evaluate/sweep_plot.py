"""The curves of a sweep: quality over alignment, and the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from dmtool import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dmtool.evaluate.choices import Setting


class Point(Protocol):
    """A setting with its figures, smaller and larger of which are better."""

    @property
    def setting(self) -> Setting: ...
    @property
    def quality(self) -> float: ...
    @property
    def alignment(self) -> float: ...
    @property
    def on_front(self) -> bool: ...


def svg(points: Sequence[Point], names: tuple[str, str]) -> str:
    """An SVG file: a line for each curve, its points named by their last word's value; those on
    the front are ringed."""
    return plot.svg(lambda figure: _draw(figure, points, names))


def _draw(figure: Figure, points: Sequence[Point], names: tuple[str, str]) -> None:
    figure.set_size_inches(7, 4.5)
    axes = figure.subplots()
    curves = {point.setting.curve: None for point in points}
    for name in curves:
        own = [point for point in points if point.setting.curve == name]
        places = [point.alignment for point in own], [point.quality for point in own]
        axes.plot(*places, marker="o", markersize=4, label=name or None)
        for point in own:
            value = point.setting.chosen[-1].partition("=")[2]
            place = point.alignment, point.quality
            axes.annotate(value, place, xytext=(4, 4), textcoords="offset points", fontsize=7)
    best = sorted((point.alignment, point.quality) for point in points if point.on_front)
    axes.plot(
        *zip(*best, strict=True), "o", ms=9, mfc="none", mec="grey", linestyle=":", label="front"
    )
    axes.set(xlabel=f"{names[1]} (larger is better)", ylabel=f"{names[0]} (smaller is better)")
    axes.legend(frameon=False)
