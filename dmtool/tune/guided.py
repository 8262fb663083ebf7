"""Which guidance, at chosen steps, brings the pictures nearest to the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from dmtool.config import container, leaves
from dmtool.hydra_main import composed
from dmtool.schemas import Guidance, Guided, Interval

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
            print(f"  {known[scale, bounds]:6.2f}  scale {scale:g}, {bounds}", flush=True)
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


ALWAYS = ("scale", "interval.low", "interval.high")


def words(chosen: Guidance, always: Sequence[str] = ALWAYS) -> list[str]:
    """The words of the command line for a guidance: those of `always`, and what else is not as in
    `guidance=cfg`."""
    values, usual = dict(leaves(asdict(chosen))), container(composed("sample"))["guidance"]
    return [
        f"guidance.{name}={_word(values[name])}"
        for name, value in leaves(usual)
        if name in always or values[name] != value
    ]


def _word(value: object) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
