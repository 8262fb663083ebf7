"""What a run tells: metrics.jsonl, progress to the user, trackers, and alerts when it hangs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from dmtool.config.training import Train
from dmtool.errors import Stopped
from dmtool.runs import metrics
from dmtool.say import say
from dmtool.train import trackers
from dmtool.train.display import Display, display
from dmtool.train.progress import Progress
from dmtool.train.watchdog import Watchdog


class Log:
    """Scalars are collected on the device and fetched only when a line is written.

    Only the main process tells anything. `progress` is the run's own, which moves on.
    """

    def __init__(
        self, folder: Path, config: Train, stage: str, progress: Progress, accelerator: Accelerator
    ) -> None:
        self.accelerator, self.stage, self.progress = accelerator, stage, progress
        self.main = accelerator.is_main_process
        self.path = folder / metrics.NAME
        self.rates = {"lr": 0.0}
        self._totals: dict[str, Tensor] = {}
        self._since = time.monotonic(), progress.pictures
        self._display: Display | None = None
        self._untold: list[Callable[[], None]] = []
        stall = config.alert.stall if self.main else None
        self._watchdog = Watchdog(stall, self._stalled) if stall else None
        self._trackers: list[trackers.Tracker] = []
        if self.main:
            told = metrics.forget_after(self.path, progress.pictures, progress.owed)
            self._trackers = trackers.build(folder, config, stage, progress.pictures, told)

    def say(self, text: str) -> None:
        """One line to the user, from the main process only."""
        if self.main:
            say(f"{self.stage}: {text}")

    @contextmanager
    def bar(self, fraction: float) -> Iterator[None]:
        """Within it the run shows how far it is, tells its trackers, and is watched for stalls."""
        for tracker in self._trackers:
            tracker.start()
        self._display = display(self.stage, fraction) if self.main else None
        try:
            with self._watchdog.watching() if self._watchdog else nullcontext():
                yield
        except Stopped:  # all is saved: a good end to trackers as well
            self._finish()
            raise
        finally:
            if self._display:
                self._display.close()
        self._finish()

    def tell(self) -> None:
        """Hand on what was written to metrics.jsonl: to who looks, and to trackers.

        They may fail, and what is more important is done before.
        """
        waiting, self._untold = self._untold, []
        for each in waiting:
            each()

    def _finish(self) -> None:
        self.tell()
        for tracker in self._trackers:
            tracker.finish()

    def advance(self, fraction: float) -> None:
        """A step has ended; progress is now this, in [0, 1]."""
        if self._watchdog:
            self._watchdog.beat()
        if self._display:
            self._display.advance(fraction)

    def collect(self, values: dict[str, Tensor]) -> None:
        """Add all finite numbers to the means of the next line; nothing is fetched from the device.

        Names must be the same on all processes.
        """
        for name, value in values.items():
            value = value.detach().float()
            finite = value.isfinite()
            total = torch.stack([torch.where(finite, value, 0).sum(), finite.sum()])
            self._totals[name] = self._totals.get(name, 0) + total

    def write(self, progress: Progress, more: dict[str, float]) -> None:
        """Write the means since the last line, over all processes, and what main adds."""
        names = list(self._totals)
        totals = self.accelerator.reduce(torch.stack([self._totals[name] for name in names]))
        means = (totals[:, 0] / totals[:, 1]).tolist()
        figures = {name: mean for name, mean in zip(names, means, strict=True) if mean == mean}
        self._totals = {}
        now, (then, seen) = time.monotonic(), self._since
        rate = (progress.pictures - seen) / max(now - then, 1e-9)
        self._since = now, progress.pictures
        if self._display:
            shown = (progress.pictures, figures.get("loss", math.nan), rate)
            self._untold.append(partial(self._display.figures, *shown))
        self.figures(progress, figures | {**self.rates, "pictures_per_second": rate, **more})

    def figures(self, progress: Progress, figures: dict[str, float]) -> None:
        """Append one line to metrics.jsonl; others hear of it by `tell`."""
        if not self.main:
            return
        self._append(progress, figures)
        for tracker in self._trackers:
            self._untold.append(partial(tracker.log, figures, progress.pictures))

    def picture(self, progress: Progress, path: Path) -> None:
        """Show a preview where there is somebody to show it to."""
        for tracker in self._trackers:
            tracker.picture(path, progress.pictures)

    def _stalled(self, seconds: float, where: str) -> None:
        """On the watchdog's thread; trackers come last, one of them may be what hangs."""
        text = f"no step has ended for {seconds:.0f} s: waiting in {where}"
        say(f"{self.stage}: alert: {text}", error=True)
        self._append(self.progress, {"alert": text})
        for tracker in self._trackers:
            tracker.alert(text, self.progress.pictures)

    def _append(self, progress: Progress, figures: dict[str, float] | dict[str, str]) -> None:
        line = {"pictures": progress.pictures, "seconds": round(progress.seconds, 3), **figures}
        metrics.append(self.path, line)
