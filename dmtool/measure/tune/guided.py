"""Which guidance, at chosen steps, brings the pictures nearest to the real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dmtool.config.guidance import Guidance, Interval
from dmtool.config.tuning import Guided
from dmtool.say import say

Bounds = tuple[float, float | None]


def best_guidance(
    config: Guided, start: Guidance, distance: Callable[[Guidance], float]
) -> Guidance:
    """The guidance of the smallest distance: its scale, then its interval, then its scale again.

    What the search starts from is among them, so that no worse one is chosen.
    """
    known: dict[tuple[float, Bounds], float] = {}

    def found(scale: float, bounds: Bounds) -> float:
        if (scale, bounds) not in known:
            known[scale, bounds] = distance(guidance(start, scale, bounds))
            say(f"  {known[scale, bounds]:6.2f}  scale {scale:g}, {bounds}")
        return known[scale, bounds]

    bounds = start.interval.low, start.interval.high
    scales = dict.fromkeys((start.scale, *config.scales))
    scale = min(scales, key=lambda each: found(each, bounds))
    bounds = min(dict.fromkeys((bounds, *config.intervals)), key=lambda each: found(scale, each))
    scale = min(scales, key=lambda each: found(each, bounds))
    return guidance(start, scale, bounds)


def guidance(start: Guidance, scale: float, bounds: Bounds) -> Guidance:
    """The same guidance with another scale and interval."""
    return replace(start, scale=scale, interval=Interval(low=bounds[0], high=bounds[1]))
