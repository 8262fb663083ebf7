"""The training loop as it is, played for some seconds to see what each part of it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from accelerate import Accelerator

from dmtool.config.training import Train
from dmtool.device import asynchronous
from dmtool.look.plan import memory
from dmtool.look.plan.forecast import Costs
from dmtool.processes import Group
from dmtool.train.batch import Batch
from dmtool.train.context import Context
from dmtool.train.loop import Trainer, begun
from dmtool.train.occasions import Occasions
from dmtool.train.stage import Stage
from dmtool.train.step import Step
from dmtool.train.stop import Stop

SECONDS, AT_MOST = 15.0, 60.0
"""How long steps are measured: so long and at least eight steps, or two steps if they are slow."""

SLOW = 20.0
"""What takes so many seconds is done once. Else it is done twice and the second time counts: the
first pays for memory and files that later ones find ready."""


class Over(Exception):
    """The rehearsal has seen all."""


class Rehearsal(Trainer):
    """A trainer whose occasions follow a program of their own, and which no signal asks to save."""

    def __init__(self, context: Context, step: Trial, program: Program, stop: Endless) -> None:
        super().__init__(context, step, program, stop)
        self.trial, self.program = step, program

    def run(self) -> None:
        """Play the program: its figures are then there."""
        memory.forget(self.context.device)
        with suppress(Over):
            super().run()

    def fits(self, micro: int) -> bool:
        """Whether a micro-batch of this size has room on the GPU."""
        return self.trial.fits(self.stage.feed.batch(range(micro)))


class Trial(Step):
    """A step that can also be tried for its memory alone."""

    def fits(self, batch: Batch) -> bool:
        """Whether the gradients of this batch, in one part, have room on the GPU."""
        self.parts, room = 1, True
        for turn in self.turns:
            room = room and self._tried(turn, batch, turn.network, alone=True) is not None
            turn.zero()
        torch.accelerator.empty_cache()
        return room


class Endless(Stop):
    """Neither a limit nor a signal asks for a last save; signals end the process."""

    def decide(self) -> tuple[float, bool]:
        return 0.0, False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        yield


class Program(Occasions):
    """One occasion after another instead of the cadences', with a clock in the hand.

    `waited` is the share of the steps' time in which other programs had the processor.
    """

    costs: Costs
    peak: memory.Peak
    waited: float

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.acts = self._acts()

    def __call__(self, done: bool, stop: bool = False) -> None:
        """After a step, the first of which is to warm up; raises Over after the last act."""
        if next(self.acts, True):
            raise Over

    def _acts(self) -> Iterator[None]:
        config = self.context.config
        picture = self.context.folder / "previews" / "rehearsal.png"
        step = yield from self._steady()
        validate = self._lasting(lambda: self._on_main(self._validate))
        preview = snapshot = 0.0
        if config.preview_every:
            preview = self._lasting(lambda: self._on_main(lambda: self._preview(picture)))
        if config.every.snapshot:
            snapshot = self._lasting(self._snapshot)
        last_save = self._lasting(self._save_and_wait)
        save = yield from self._saving(step)
        self.written()
        self.peak = memory.peak(self.context.device)
        self.costs = Costs(step, validate, preview, snapshot, save, last_save)

    def _steady(self) -> Generator[None, None, float]:
        """Seconds of a step."""
        self._log()
        begin, waited, steps = self._now(), _waited(), 0
        while not _enough(time.perf_counter() - begin, steps):
            yield
            steps += 1
        self._log()
        seconds = self._now() - begin
        self.waited = (_waited() - waited) / seconds
        return seconds / steps

    def _saving(self, step: float) -> Generator[None, None, float]:
        """Seconds that a save adds to the steps that are made while it is written."""
        begin, steps = self._now(), 0
        self.save("default")
        pause = self._now() - begin
        while self.writer.busy or not steps:
            yield
            steps += 1
        return max(pause, self._now() - begin - steps * step)

    def _save_and_wait(self) -> None:
        self.save("default")
        self.written()

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
        if asynchronous(self.context.device):
            torch.accelerator.synchronize(self.context.device)
        return time.perf_counter()


def _waited() -> float:
    """Seconds that this thread was ready to run and another program ran; 0 but on Linux."""
    path = Path("/proc/thread-self/schedstat")
    return int(path.read_text().split()[1]) / 1e9 if path.exists() else 0.0


def _enough(seconds: float, steps: int) -> bool:
    return (seconds >= SECONDS and steps >= 8) or (seconds >= AT_MOST and steps >= 2)


def rehearsal(
    stage: Stage, config: Train, folder: Path, accelerator: Accelerator, group: Group
) -> Rehearsal:
    """All that rehearses a stage's training."""
    context = begun(stage, config, folder, accelerator, group)
    return Rehearsal(context, Trial(context), Program(context), Endless(context))
