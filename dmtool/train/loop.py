"""The only training loop: steps, and what happens beside them, until the limit or a signal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.amp.grad_scaler import GradScaler

from dmtool.config.training import Train
from dmtool.device import locks_pages, pick_dtype
from dmtool.errors import Stopped, UserError
from dmtool.processes import Group
from dmtool.train import ema, optim, parallel, snapshots
from dmtool.train.checkpoint import Progress, State
from dmtool.train.context import Context
from dmtool.train.examples import Batch, Positions, batches
from dmtool.train.log import Log
from dmtool.train.occasions import Occasions
from dmtool.train.parallel import Parallel
from dmtool.train.recovery import Recovery
from dmtool.train.stage import Stage
from dmtool.train.step import Step
from dmtool.train.stop import Stop


class Trainer:
    """Trains a stage in its run directory until its limit, from where it was left."""

    def __init__(
        self, stage: Stage, config: Train, folder: Path, accelerator: Accelerator, group: Group
    ) -> None:
        self.stage, self.config, self.folder, self.accelerator = stage, config, folder, accelerator
        self.group = group
        dtype = pick_dtype(config.dtype, accelerator.device)
        shared = parallel.build(config, stage.network, accelerator, dtype)
        state = self._state(shared, dtype)
        with accelerator.main_process_first():  # it puts damaged checkpoints aside
            self.resumed = state.load_newest(folder / "checkpoints")
        if accelerator.is_main_process:
            snapshots.forget_after(folder / "snapshots", state.progress.pictures)
        self.progress = state.progress
        self.log = Log(folder, config, stage.name, self.progress, accelerator)
        self.started = time.monotonic() - self.progress.seconds
        context = Context(stage, config, folder, accelerator, shared, group, dtype, state, self.log)
        self.step, self.occasions = Step(context), Occasions(context)
        self.recovery, self.stop = Recovery(context, self.occasions), Stop(context)

    def _state(self, shared: Parallel, dtype: torch.dtype) -> State:
        """As the run begins."""
        config, network, device = self.config, shared.trained, self.accelerator.device
        return State(
            network,
            ema.Ema(network, ema.profile(config.ema), config.ema.snapshots),
            optim.build(network, config.optim),
            GradScaler(device.type, enabled=dtype == torch.float16),
            Progress(),
            shared.team,
        )

    def run(self) -> None:
        """Train; raise Stopped after a signal to stop, with everything saved."""
        fraction, _ = self.stop.decide()
        if fraction >= 1 and not self.progress.owed:
            self.log.say(f"{self.folder} is trained: {self.progress.pictures:,} pictures seen")
            return
        if self.resumed:
            self.log.say(f"going on from {self.progress.pictures:,} pictures")
        with self.stop.heeded(), self.log.bar(fraction), self.occasions.writer.finishing():
            if self.progress.owed:
                with self.group.busy():
                    self.occasions.attend()
            if fraction < 1:
                self.progress.done = False  # it was done, if its limit has been raised
                self._train(fraction)
            self.occasions.written()
        self.log.say(f"trained: {self.folder / 'artifacts' / 'default'}")

    def _train(self, fraction: float) -> None:
        for batch in self._shares():
            self.group.mark()
            self.step(batch, fraction)
            self.progress.seconds = time.monotonic() - self.started
            fraction, stop = self.stop.decide()
            self.log.advance(fraction)
            if stop or fraction >= 1 or self.occasions.due():
                self.step.settle()
            with self.group.busy():
                if self.recovery.needed():
                    self.recovery.roll_back()
                self.occasions(fraction >= 1, stop)
            if fraction >= 1:
                return
            if stop:
                self._stopped()

    def _stopped(self) -> None:
        self.occasions.written()
        raise Stopped(
            f"stopped at {self.progress.pictures:,} pictures; "
            "all is saved, the same command goes on"
        )

    def _shares(self) -> Iterator[Batch]:
        """This process' share of each step's batch."""
        config, accelerator = self.config, self.accelerator
        parts = config.accumulation * accelerator.num_processes
        if config.batch_size % parts:
            raise UserError(
                f"batch_size={config.batch_size} is not divisible by accumulation x processes = "
                f"{config.accumulation} x {accelerator.num_processes}"
            )
        positions = Positions(
            size=len(self.stage.examples),
            seed=config.seed,
            start=self.progress.pictures,
            micro=self.step.share,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        pin = locks_pages(accelerator.device)
        return batches(self.stage.examples, positions, config.data.workers, pin)
