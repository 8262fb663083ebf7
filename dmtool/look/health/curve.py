"""Reference curves: the loss that a healthy run of certain settings had after so many pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from dmtool.config.stages import StageName
from dmtool.config.validation import leaves
from dmtool.errors import UserError
from dmtool.files import reading
from dmtool.files.atomic import write_json
from dmtool.runs import migrate
from dmtool.runs.card import PicturesSeen
from dmtool.runs.metrics import Line
from dmtool.runs.process_card import Finite
from dmtool.train.begun import FREE

TOLERANCE = 0.15
"""The band's half width, as a share of the loss: two seeds of the demo differ by up to 0.06."""
RATES = 4
"""Where a run's learning rate differs by more than this factor (its limit is another, or its
machine has another speed) it is not compared; by this factor the demo's loss differed by 0.03."""
IRRELEVANT = FREE | {"seed", "dtype", "from", "ema"}
"""Settings that leave the curve within its band."""
MOST = 2**26
"""Bytes of a curve's file."""
PACKED = Path(__file__).parents[2] / "curves"


@dataclass(frozen=True)
class LossPoint:
    """The mean loss since the point before, what it may be, and the learning rate."""

    pictures: PicturesSeen
    loss: Finite
    low: Finite
    high: Finite
    lr: Finite


@dataclass(frozen=True)
class CurveFile:
    """A curve's file; `config_format`: that of the config that its settings are of."""

    format: int
    config_format: int
    stage: StageName
    settings: dict[str, Any]
    points: Annotated[list[LossPoint], Field(min_length=1)]

    def __post_init__(self) -> None:
        if any(a.pictures >= b.pictures for a, b in pairwise(self.points)):
            raise ValueError("points are not in the order of their pictures")


class LossPair(NamedTuple):
    """A run's loss and the reference's, over the same pictures; `comparable` by learning rate."""

    loss: float
    reference: LossPoint
    comparable: bool


@dataclass(frozen=True)
class ReferenceCurve:
    """`settings`: values by dotted key, of all that the curve depends on."""

    name: str
    stage: str
    settings: dict[str, Any]
    points: list[LossPoint]

    def differences(self, config: Mapping[str, Any]) -> list[str]:
        """The settings in which a run differs: 'optim.lr=0.001 (there 0.002)'."""
        own = settings(config)
        return [
            f"{key}={own.get(key)} (there {self.settings.get(key)})"
            for key in sorted(own.keys() | self.settings.keys())
            if own.get(key) != self.settings.get(key)
        ]

    def pairs(self, lines: list[Line]) -> list[LossPair]:
        """The run and the reference between the numbers of pictures at which both logged."""
        own = [_point(line) for line in lines if {"loss", "lr"} <= line.keys()]
        common = sorted({p.pictures for p in own} & {p.pictures for p in self.points})
        return [
            _pair(_between(own, *span), _between(self.points, *span))
            for span in pairwise([0, *common])
        ]

    def write(self, path: Path) -> None:
        """As JSON; the file's name is the curve's."""
        points = [asdict(point) for point in self.points]
        formats = {"format": migrate.CURVE.now, "config_format": migrate.CONFIG.now}
        content = {"stage": self.stage, "settings": self.settings, "points": points}
        write_json(path, formats | content)


def read(path: Path) -> ReferenceCurve:
    """The curve in a file; UserError if it is none that this version reads."""
    try:
        found = reading.read_json(path, dict[str, Any], MOST)
        if "points" not in found:
            raise ValueError("it has no points")
        stored = reading.checked(migrate.CURVE.read(found, path), CurveFile, path)
        config = _nested(stored.settings) | {"format": stored.config_format}
    except (reading.Unreadable, ValueError) as error:
        raise UserError(f"{path} is no curve of dmtool check-run --write: {error}") from error
    known = migrate.CONFIG.read(config, path)
    del known["format"]
    return ReferenceCurve(path.stem, stored.stage, settings(known), stored.points)


def packed(stage: str) -> list[ReferenceCurve]:
    """The curves that dmtool brings for a stage."""
    return [each for each in map(read, sorted(PACKED.glob("*.json"))) if each.stage == stage]


def from_run(name: str, stage: str, config: Mapping[str, Any], lines: list[Line]) -> ReferenceCurve:
    """The curve of a run, with a band around it; UserError if it is of no use."""
    points = [_point(line) for line in lines if {"loss", "lr"} <= line.keys()]
    if not points or not all(math.isfinite(point.loss) for point in points):
        raise UserError("a curve is made of a run whose loss is finite, and was logged")
    return ReferenceCurve(name, stage, settings(config), points)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a curve depends on, by dotted key."""
    return {
        key: value for key, value in leaves(config) if not IRRELEVANT & {key, key.partition(".")[0]}
    }


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config whose leaves these are; ValueError if one of them is a section, too."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = found
        for each in sections:
            place = place.setdefault(each, {})
            if not isinstance(place, dict):
                raise ValueError(f"{key} stands within a value")
        place[name] = value
    return found


def _point(line: Line) -> LossPoint:
    loss = line["loss"]
    low, high = (round(loss * (1 + side * TOLERANCE), 6) for side in (-1, 1))
    return LossPoint(line["pictures"], loss, low, high, line["lr"])


def _between(points: list[LossPoint], start: int, end: int) -> LossPoint:
    """The mean over the pictures in (start, end], both of which are points' own."""
    inside = [point for point in points if start < point.pictures <= end]
    weights = [b - a for a, b in pairwise([start, *(point.pictures for point in inside)])]
    mean = partial(_mean, inside, weights)
    return LossPoint(end, mean("loss"), mean("low"), mean("high"), inside[-1].lr)


def _mean(points: list[LossPoint], weights: list[int], name: str) -> float:
    total = sum(getattr(p, name) * weight for p, weight in zip(points, weights, strict=True))
    return total / sum(weights)


def _pair(own: LossPoint, reference: LossPoint) -> LossPair:
    low, high = sorted((own.lr, reference.lr))
    return LossPair(own.loss, reference, high <= RATES * low)
