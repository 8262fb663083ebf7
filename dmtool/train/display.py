"""How far a training is, to whoever looks: a bar on a terminal, lines in a file."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from tqdm import tqdm

from dmtool.say import say

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
PARTS = 10_000  # of the bar: it shows progress in [0, 1], be it of pictures or of minutes


class Display(Protocol):
    def advance(self, fraction: float) -> None:
        """Progress in [0, 1], after each step."""
        ...

    def figures(self, pictures: int, loss: float, rate: float) -> None:
        """Pictures seen, their mean loss and pictures/s, at the cadence of the log."""
        ...

    def close(self) -> None: ...


def display(stage: str, fraction: float) -> Display:
    """What suits stderr; `fraction` is where this process begins."""
    kind = Bar if sys.stderr.isatty() else Lines
    return kind(stage, fraction)


class Bar:
    """A progress bar with loss, pictures/s and ETA."""

    def __init__(self, stage: str, fraction: float) -> None:
        first = int(fraction * PARTS)
        self._bar = tqdm(total=PARTS, initial=first, desc=stage, bar_format=BAR)

    def advance(self, fraction: float) -> None:
        self._bar.update(int(min(fraction, 1) * PARTS) - self._bar.n)

    def figures(self, pictures: int, loss: float, rate: float) -> None:
        self._bar.set_postfix_str(f"{loss:.4f} loss, {rate:.0f} pictures/s")

    def close(self) -> None:
        self._bar.close()


class Lines:
    """One line for each line of the log: for files, where a bar would be one endless line."""

    def __init__(self, stage: str, fraction: float) -> None:
        self.stage, self.first, self.fraction = stage, fraction, fraction
        self.started = time.monotonic()

    def advance(self, fraction: float) -> None:
        self.fraction = min(fraction, 1)

    def figures(self, pictures: int, loss: float, rate: float) -> None:
        done = self.fraction - self.first
        left = (time.monotonic() - self.started) * (1 - self.fraction) / done if done else 0
        say(
            f"{self.stage}: {int(100 * self.fraction):3}%, {pictures:,} pictures, {loss:.4f} loss, "
            f"{rate:.0f} pictures/s, {tqdm.format_interval(left)} left",
            error=True,
        )

    def close(self) -> None:
        pass
