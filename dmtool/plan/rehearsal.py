"""The training loop as it is, played for some seconds to see what each part of it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from accelerate import Accelerator

from dmtool.plan import memory
from dmtool.plan.forecast import Costs
from dmtool.schemas import Train
from dmtool.train.examples import place
from dmtool.train.loop import Stage, Trainer

SECONDS, AT_MOST = 15.0, 60.0
"""How long steps are measured: so long and at least eight steps, or two steps if they are slow."""

SLOW = 20.0
"""What takes so many seconds is done once. Else it is done twice and the second time counts: the
first pays for memory and files that later ones find ready."""


class _Over(Exception):
    """The rehearsal has seen all."""


class Rehearsal(Trainer):
    """A trainer whose occasions follow a program of their own, not the cadences."""

    costs: Costs
    peak: memory.Peak
    waited: float

    def __init__(self, stage: Stage, config: Train, folder: Path, accelerator: Accelerator) -> None:
        super().__init__(stage, config, folder, accelerator)
        self._program = self._play()

    def run(self) -> None:
        """Play the program; the figures are in `costs` and `peak`, and in `waited` the share of
        the steps' time in which other programs had the processor."""
        with suppress(_Over):
            super().run()
        self._written()

    def _decide(self) -> tuple[float, bool]:
        return 0.0, False

    @contextmanager
    def _signals(self) -> Iterator[None]:
        yield  # nothing to be saved: signals end it at once

    def _occasions(self, done: bool) -> None:
        if next(self._program, True):
            raise _Over

    def _play(self) -> Iterator[None]:
        """Called after each step, from the first on, which is to warm up."""
        step = yield from self._steady()
        validate = self._lasting(lambda: self._on_main(self._validate))
        preview = self._lasting(lambda: self._on_main(lambda: self._preview(self._picture)))
        snapshot = self._lasting(self._snapshot)
        last_save = self._lasting(self._save_and_wait)
        save = yield from self._saving(step)
        self.peak = memory.peak(self.accelerator.device)
        self.costs = Costs(step, validate, preview, snapshot, save, last_save)

    def fits(self, micro: int) -> bool:
        """Whether a step of one micro-batch of this size has room on the GPU."""
        places = [place(k, len(self.stage.examples), self.config.seed) for k in range(micro)]
        try:
            self._step([self.stage.examples.__getitems__(places)], 0.0)
            torch.accelerator.synchronize(self.accelerator.device)
            room = True
        except torch.OutOfMemoryError:
            room = False
        self.state.network.zero_grad(set_to_none=True)
        torch.accelerator.empty_cache()
        return room

    def _steady(self) -> Generator[None, None, float]:
        """Seconds of a step."""
        self._check_finite(self.log.write(self.progress))
        begin, waited, steps = self._now(), _waited(), 0
        while not _enough(time.perf_counter() - begin, steps):
            yield
            steps += 1
        self._check_finite(self.log.write(self.progress))
        seconds = self._now() - begin
        self.waited = (_waited() - waited) / seconds
        return seconds / steps

    def _saving(self, step: float) -> Generator[None, None, float]:
        """Seconds that a save adds to the steps that are made while it is written."""
        begin, steps = self._now(), 0
        self._save("default")
        pause = self._now() - begin
        while self.writer.busy or not steps:
            yield
            steps += 1
        return max(pause, self._now() - begin - steps * step)

    def _save_and_wait(self) -> None:
        self._save("default")
        self._written()

    @property
    def _picture(self) -> Path:
        return self.folder / "previews" / "rehearsal.png"

    def _lasting(self, act: Callable[[], object]) -> float:
        """The seconds of `act`."""
        for _ in range(2):
            begin = self._now()
            act()
            seconds = self._now() - begin
            if seconds > SLOW:
                break
        return seconds

    def _now(self) -> float:
        """The clock, once the device has done all it was asked for."""
        if self.accelerator.device.type != "cpu":
            torch.accelerator.synchronize(self.accelerator.device)
        return time.perf_counter()


def _waited() -> float:
    """Seconds that this thread was ready to run and another program ran; 0 but on Linux."""
    path = Path("/proc/thread-self/schedstat")
    return int(path.read_text().split()[1]) / 1e9 if path.exists() else 0.0


def _enough(seconds: float, steps: int) -> bool:
    return (seconds >= SECONDS and steps >= 8) or (seconds >= AT_MOST and steps >= 2)
