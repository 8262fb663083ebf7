"""When a training ends, when it does something on the way, and what of it stays."""

from __future__ import annotations

from dataclasses import dataclass

from dmtool.config.base import Count, Positive, Schema


@dataclass(frozen=True, kw_only=True)
class Limit(Schema):
    """Training ends at whichever comes first; `null` is no limit."""

    pictures: Count | None
    minutes: Positive | None

    def __post_init__(self) -> None:
        if self.pictures is None and self.minutes is None:
            raise ValueError("set limit.pictures or limit.minutes: training needs an end")

    def fraction(self, pictures: int, seconds: float) -> float:
        """Progress after so many pictures and seconds: the larger of the two, 1 is the end."""
        by_pictures = pictures / self.pictures if self.pictures else 0.0
        by_minutes = seconds / 60 / self.minutes if self.minutes else 0.0
        return max(by_pictures, by_minutes)


@dataclass(frozen=True, kw_only=True)
class Every(Schema):
    """Cadences, in pictures seen; all is done at the end, too. `null` is never, and of a
    checkpoint at the end alone."""

    log: Count
    validate: Count | None
    evaluate: Count | None
    preview: Count | None
    checkpoint: Count | None
    snapshot: Count | None


@dataclass(frozen=True, kw_only=True)
class Keep(Schema):
    """Which checkpoints stay: the newest, one of each so many pictures, the best by a figure."""

    last: Count
    every: Count | None
    best: str | None
