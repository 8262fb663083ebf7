"""From what each part of a training takes to the whole of it: hours, and bytes on the disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dmtool.config.training import Train
from dmtool.train import checkpoint, snapshots
from dmtool.train.progress import Best

Decoding = Callable[[int], float]
"""The seconds that pictures take to be decoded, in a training that sees so many of them."""


@dataclass(frozen=True)
class Costs:
    """Seconds of a step, and of what happens from time to time.

    `save` is what a save adds while training goes on, `last_save` is the save that is waited for.
    """

    step: float
    validate: float
    preview: float
    snapshot: float
    save: float
    last_save: float


@dataclass(frozen=True)
class FileSizes:
    """Bytes of what a run writes."""

    checkpoint: int
    artifact: int
    snapshot: int
    preview: int


@dataclass(frozen=True)
class Calendar:
    """After which steps something happens, as the loop decides it; the last step has all."""

    steps: int
    validations: list[int]
    previews: list[int]
    snapshots: list[int]
    saves: list[int]


def calendar(config: Train, steps: int, *, ended: bool = True) -> Calendar:
    """Of a training of so many steps; one that has not `ended` goes on after them.

    With `keep.best` each measurement of that figure may be the best so far, and counts as one that
    saves.
    """

    def moments(every: int | None) -> set[int]:
        if every is None:
            return set()
        return crossed(every, config.batch_size, steps) | ({steps} if ended else set())

    every = config.every
    validations = moments(every.validate)
    saves = moments(every.checkpoint) | ({steps} if ended else set())
    if config.keep.best and every.evaluate and config.keep.best in config.evaluated:
        saves |= moments(every.evaluate)
    elif config.keep.best:
        saves |= validations
    taken = moments(every.snapshot) if config.ema.snapshots else set()
    previews = moments(config.preview_every)
    return Calendar(steps, *(sorted(each) for each in (validations, previews, taken, saves)))


def crossed(every: int, batch_size: int, steps: int) -> set[int]:
    """The steps (from 1) in which the pictures seen pass a multiple of `every`."""
    if batch_size >= every:
        return set(range(1, steps + 1))
    return {-(-multiple // batch_size) for multiple in range(every, steps * batch_size + 1, every)}


def seconds(config: Train, costs: Costs, decoding: Decoding, happens: Calendar) -> float:
    """What the steps and occasions take."""
    return (
        happens.steps * costs.step
        + decoding(happens.steps * config.batch_size)
        + len(happens.validations) * costs.validate
        + len(happens.previews) * costs.preview
        + len(happens.snapshots) * costs.snapshot
        + len(happens.saves) * costs.save
    )


def length(config: Train, costs: Costs, decoding: Decoding) -> int:
    """The steps after which a training reaches its limit of pictures or of minutes."""
    limit, bounds = config.limit, []
    if limit.pictures:
        bounds.append(-(-limit.pictures // config.batch_size))
    if limit.minutes:
        most = math.ceil(60 * limit.minutes / costs.step)
        bounds.append(_reached(60 * limit.minutes, config, costs, decoding, most))
    return min(bounds)


def _reached(limit: float, config: Train, costs: Costs, decoding: Decoding, most: int) -> int:
    """The first step that ends after `limit` seconds, by bisection; at most `most`."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        before = calendar(config, middle - 1, ended=False)
        done = seconds(config, costs, decoding, before) + costs.step >= limit
        low, high = (low, middle) if done else (middle, high)
    return high


def whole(config: Train, costs: Costs, decoding: Decoding, steps: int) -> float:
    """Seconds of a training of so many steps, with what its end brings and the last save."""
    spent = seconds(config, costs, decoding, calendar(config, steps))
    return spent - costs.save + costs.last_save


def disk(config: Train, sizes: FileSizes, steps: int) -> dict[str, int]:
    """Bytes of a finished run by kind; `keep.best` counts as one checkpoint and artifact more."""
    happens, batch_size = calendar(config, steps), config.batch_size
    saves, taken = (
        [step * batch_size for step in each] for each in (happens.saves, happens.snapshots)
    )
    best = Best(config.keep.best, 0.0, saves[0]) if config.keep.best else None
    kept = checkpoint.retained(saves, config.keep, best)
    every = config.every.snapshot
    thinned = snapshots.thinned(taken, every) if taken and every else set()
    return {
        "checkpoints": len(kept) * sizes.checkpoint,
        "artifacts": (1 + (best is not None)) * sizes.artifact,
        "snapshots": len(thinned) * sizes.snapshot,
        "previews": len(happens.previews) * sizes.preview,
    }
