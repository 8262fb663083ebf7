"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Best:
    """The best held-out figure so far, and when it was measured."""

    metric: str
    value: float
    pictures: int


@dataclass
class Progress:
    """How far a run is: pictures seen, seconds spent, and whether its limit is reached.

    `owed`: what follows a save, figures and previews of its moment, is still to be done. `skipped`
    counts the steps that were not finite, `strikes` how many more of them there were than finite
    ones since; `offender` is where the last of them began, `good` the last checkpoint without a
    strike, `rollbacks` how often the run has gone back (see `recovery`).
    """

    pictures: int = 0
    seconds: float = 0.0
    done: bool = False
    owed: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    best: Best | None = None
    skipped: int = 0
    strikes: int = 0
    offender: int | None = None
    good: int | None = None
    rollbacks: int = 0

    def load(self, saved: Progress) -> None:
        """Take up the progress of a checkpoint."""
        vars(self).update(vars(saved))
