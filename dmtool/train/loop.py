"""The only training loop: steps, and what happens beside them, until the limit or a signal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.amp.grad_scaler import GradScaler

from dmtool.config.training import Train
from dmtool.device import locks_pages, pick_dtype
from dmtool.errors import Stopped, UserError
from dmtool.processes import Group
from dmtool.train import ema, optim, parallel, snapshots
from dmtool.train.batch import Batch
from dmtool.train.context import Context
from dmtool.train.feed import Positions, batches
from dmtool.train.log import Log
from dmtool.train.occasions import Occasions
from dmtool.train.parallel import Parallel
from dmtool.train.player import Player
from dmtool.train.progress import Progress
from dmtool.train.recovery import Recovery
from dmtool.train.stage import Stage
from dmtool.train.state import Learner, State
from dmtool.train.step import Step
from dmtool.train.stop import Stop


def begun(
    stage: Stage, config: Train, folder: Path, accelerator: Accelerator, group: Group
) -> Context:
    """A training as it begins, or as it was left in its run directory."""
    dtype = pick_dtype(config.dtype, accelerator.device)
    shared = parallel.build(config, stage.players, accelerator, dtype)
    state = _state(stage.players, config, shared, accelerator.device, dtype)
    with accelerator.main_process_first():  # it puts damaged checkpoints aside
        resumed = state.load_newest(folder / "checkpoints")
    if accelerator.is_main_process:
        snapshots.forget_after(folder / "snapshots", state.progress.pictures)
    log = Log(folder, config, stage.name, state.progress, accelerator)
    return Context(
        stage, config, folder, accelerator, shared, group, dtype, state, log, resumed=resumed
    )


def _state(
    players: Mapping[str, Player],
    config: Train,
    shared: Mapping[str, Parallel],
    device: torch.device,
    dtype: torch.dtype,
) -> State:
    """As a run begins; of averages, snapshots are of the first player's."""
    learners, widths = {}, config.ema.snapshots
    for name, player in players.items():
        network = shared[name].trained
        average = ema.Ema(network, ema.profile(player.ema), widths) if player.ema else None
        learners[name], widths = Learner(network, optim.build(network, player.optim), average), []
    scaler = GradScaler(device.type, enabled=dtype == torch.float16)
    return State(learners, scaler, Progress(), next(iter(shared.values())).team)


class Trainer:
    """Trains a stage in its run directory until its limit, from where it was left."""

    def __init__(self, context: Context, step: Step, occasions: Occasions, stop: Stop) -> None:
        self.context, self.step, self.occasions, self.stop = context, step, occasions, stop
        self.recovery = Recovery(context, occasions)
        self.stage, self.config, self.progress = context.stage, context.config, context.progress
        self.started = time.monotonic() - self.progress.seconds

    def run(self) -> None:
        """Train; raise Stopped after a signal to stop, with everything saved."""
        fraction, _ = self.stop.decide()
        if fraction >= 1 and not self.progress.owed:
            seen = f"{self.progress.pictures:,} pictures seen"
            self.context.log.say(f"{self.context.folder} is trained: {seen}")
            return
        if self.context.resumed:
            self.context.log.say(f"going on from {self.progress.pictures:,} pictures")
        with self.stop.heeded(), self.context.log.bar(fraction), self.occasions.writer.finishing():
            if self.progress.owed:
                with self.context.group.busy():
                    self.occasions.attend()
            if fraction < 1:
                self.progress.done = False  # it was done, if its limit has been raised
                self._train(fraction)
            self.occasions.written()
        self.context.log.say(f"trained: {self.context.folder / 'artifacts' / 'default'}")

    def _train(self, fraction: float) -> None:
        for batch in self._shares():
            self.context.group.mark()
            self.step(batch, fraction)
            self.progress.seconds = time.monotonic() - self.started
            fraction, stop = self.stop.decide()
            self.context.log.advance(fraction)
            if stop or fraction >= 1 or self.occasions.due():
                self.step.settle()
            with self.context.group.busy():
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
        config, accelerator, group = self.config, self.context.accelerator, self.stage.group
        parts = config.accumulation * accelerator.num_processes
        if config.batch_size % (parts * group):
            coupled = f" x {group} pictures that losses couple" if group > 1 else ""
            raise UserError(
                f"batch_size={config.batch_size} is not divisible by accumulation x processes = "
                f"{config.accumulation} x {accelerator.num_processes}{coupled}"
            )
        rank, world = accelerator.process_index, accelerator.num_processes
        positions = Positions(self.progress.pictures, self.step.share, rank, world)
        pin = locks_pages(accelerator.device)
        return batches(self.stage.feed, positions, config.data.workers, pin)


def trainer(
    stage: Stage, config: Train, folder: Path, accelerator: Accelerator, group: Group
) -> Trainer:
    """All that trains a stage."""
    context = begun(stage, config, folder, accelerator, group)
    return Trainer(context, Step(context), Occasions(context), Stop(context))
