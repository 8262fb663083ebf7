"""The only training loop: batches -> losses -> step -> average, and everything around it."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from dmtool import runs
from dmtool.cond import Cond
from dmtool.data.source import Source
from dmtool.device import autocast, pick_dtype
from dmtool.errors import STOPS, Stopped, UserError
from dmtool.rng import generator
from dmtool.schemas import Train
from dmtool.train import ema, optim, parallel, snapshots
from dmtool.train.checkpoint import Best, HostCopy, Progress, State
from dmtool.train.examples import Batch, Examples, Positions, batches
from dmtool.train.log import Log
from dmtool.train.shard import gathered, whole
from dmtool.train.writer import Writer


class Stage(Protocol):
    """What a stage is to the loop: a network, examples, and a batch's losses."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> Source: ...

    @property
    def network(self) -> nn.Module: ...

    @property
    def examples(self) -> Examples: ...

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Scalars of a micro-batch; `loss` is minimised. `model` is the network, perhaps wrapped
        for several processes."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on held-out examples, at fixed times and noise, of the network as it is."""
        ...

    def preview(self, path: Path) -> None:
        """Write a PNG of what the network does to fixed examples."""
        ...

    def card(self, folder: Path) -> tuple[dict[str, Any], runs.Fill]:
        """The artifact's card (it will stand in `folder`), and what writes its further files,
        which is called later, on another thread."""
        ...


class Trainer:
    """Trains a stage in its run directory until its limit, from where it was left."""

    def __init__(self, stage: Stage, config: Train, folder: Path, accelerator: Accelerator) -> None:
        self.stage, self.config, self.folder, self.accelerator = stage, config, folder, accelerator
        self.dtype = pick_dtype(config.dtype, accelerator.device)
        self.parallel = parallel.build(config.parallel, stage.network, accelerator, self.dtype)
        network = self.parallel.trained
        scaler = GradScaler(accelerator.device.type, enabled=self.dtype == torch.float16)
        self.progress = Progress()
        self.state = State(
            network,
            ema.Ema(network, ema.profile(config.ema), config.ema.snapshots),
            optim.build(network, config.optim),
            scaler,
            self.progress,
            self.parallel.team,
        )
        with accelerator.main_process_first():  # it puts damaged checkpoints aside
            self.resumed = self.state.load_newest(folder / "checkpoints")
        if accelerator.is_main_process:
            snapshots.forget_after(folder / "snapshots", self.progress.pictures)
        self.model = self.parallel.model
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.log = Log(folder, config, stage.name, self.progress.pictures, accelerator)
        self.started = time.monotonic() - self.progress.seconds
        self.control = dist.new_group(backend="gloo") if accelerator.num_processes > 1 else None
        self.interrupted = 0
        self.writer = Writer()

    def run(self) -> None:
        """Train; raise Stopped after a signal to stop, with everything saved."""
        fraction, _ = self._decide()
        if fraction >= 1:
            self.log.say(f"{self.folder} is trained: {self.progress.pictures:,} pictures seen")
            return
        self.progress.done = False  # it was done, if its limit has been raised
        if self.resumed:
            self.log.say(f"going on from {self.progress.pictures:,} pictures")
        with self._signals(), self.log.bar(fraction):
            for micro_batches in self._steps():
                self._step(micro_batches, fraction)
                fraction, stop = self._decide()
                self.log.advance(fraction)
                self._occasions(fraction >= 1)
                if fraction >= 1:
                    break
                if stop:
                    self._save("default")
                    self._written()
                    raise Stopped(
                        f"stopped at {self.progress.pictures:,} pictures; "
                        "all is saved, the same command goes on"
                    )
            self._written()
        self.log.say(f"trained: {self.folder / 'artifacts' / 'default'}")

    def _steps(self) -> Iterator[list[Batch]]:
        """The micro-batches of each step of this process."""
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
            micro=config.batch_size // parts,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        pin = accelerator.device.type == "cuda"
        stream = batches(self.stage.examples, positions, config.data.workers, pin)
        while True:
            yield [next(stream) for _ in range(config.accumulation)]

    def _step(self, micro_batches: list[Batch], fraction: float) -> None:
        config, scaler = self.config, self.state.scaler
        factor = optim.factor(config.optim, self.progress.pictures, fraction)
        optim.set_factor(self.state.optimizers, factor)
        self.model.train()
        for i, batch in enumerate(micro_batches):
            last = i == len(micro_batches) - 1
            self._seed(i)
            with nullcontext() if last else self.parallel.accumulating():
                with autocast(self.accelerator.device, self.dtype):
                    losses = self.stage.losses(self.model, move(batch, self.accelerator.device))
                scaler.scale(losses["loss"] / len(micro_batches)).backward()
            self.log.collect(losses)
        for optimizer in self.state.optimizers:
            scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, config.optim.clip, foreach=True)
        norm = gathered(norm)
        for optimizer in self.state.optimizers:
            scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        scaler.update()
        self.progress.pictures += config.batch_size
        self.progress.seconds = time.monotonic() - self.started
        self.state.ema.update(config.batch_size, self.progress.pictures)
        self.log.collect({"grad_norm": norm})
        self.log.lr = config.optim.lr * factor

    def _seed(self, micro: int) -> None:
        """Dropout's random numbers, like all others, follow from the pictures seen."""
        key = (self.progress.pictures, micro, self.accelerator.process_index)
        torch.manual_seed(generator(self.config.seed, "dropout", *key).initial_seed())

    def _decide(self) -> tuple[float, bool]:
        """(progress in [0, 1], whether to stop now), the same on all processes."""
        limit, fractions = self.config.limit, [0.0]
        if limit.pictures:
            fractions.append(self.progress.pictures / limit.pictures)
        if limit.minutes:
            fractions.append(self.progress.seconds / 60 / limit.minutes)
        decision = torch.tensor([max(fractions), float(self.interrupted)], dtype=torch.float64)
        if self.control is not None:
            dist.all_reduce(decision, dist.ReduceOp.MAX, group=self.control)
        return decision[0].item(), bool(decision[1])

    def _occasions(self, done: bool) -> None:
        """Log, validate, preview and save when their time has come, and at the end."""
        every, improved = self.config.every, False
        if done or self._crossed(every.log):
            self._check_finite(self.log.write(self.progress))
        if done or self._crossed(every.validate):
            self.progress.metrics |= self._on_main(self._validate)
            improved = self._improved()
        if done or self._crossed(every.preview):
            path = self.folder / "previews" / f"{self.progress.pictures:09d}.png"
            self._on_main(lambda: self._preview(path))
        if done or self._crossed(every.snapshot):
            self._snapshot()
        if done or improved or self._crossed(every.checkpoint):
            self.progress.done = done
            self._save("default", *(["best"] if improved else []))

    def _crossed(self, every: int) -> bool:
        seen = self.progress.pictures
        return seen // every > (seen - self.config.batch_size) // every

    def _improved(self) -> bool:
        """Whether the figure named by `keep.best` is the best so far; it is noted then."""
        metric, best = self.config.keep.best, self.progress.best
        if metric is None:
            return False
        value = self.progress.metrics[metric]
        if best and best.metric == metric:
            better = self.config.figures[metric]
            if better(best.value, value) == best.value:
                return False
        self.progress.best = Best(metric, value, self.progress.pictures)
        return True

    def _on_main(self, act: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What `act` finds of the averaged weights on the main process, for all processes."""
        box: list[dict[str, float]] = [{}]
        with self.parallel.averaged(self.state.ema):
            if self.accelerator.is_main_process:
                box = [act()]
        if self.control is not None:
            dist.broadcast_object_list(box, group=self.control)
        return box[0]

    def _validate(self) -> dict[str, float]:
        with autocast(self.accelerator.device, self.dtype):
            metrics = self.stage.validate()
        self.log.figures(self.progress, metrics)
        return metrics

    def _preview(self, path: Path) -> dict[str, float]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with autocast(self.accelerator.device, self.dtype):
            self.stage.preview(path)
        self.log.picture(self.progress, path)
        return {}

    def _check_finite(self, figures: dict[str, float]) -> None:
        if not all(math.isfinite(figures[name]) for name in ("loss", "grad_norm")):
            raise UserError(
                f"the loss or its gradient is not finite at {self.progress.pictures:,} pictures "
                f"(loss {figures['loss']}); the last checkpoint is kept: go on with a lower "
                "optim.lr, or with dtype=fp32"
            )

    def _snapshot(self) -> None:
        """Before the checkpoint, so that a run that goes on from there has all that came before."""
        average, seen = self.state.ema, self.progress.pictures
        main = self.accelerator.is_main_process
        averages = {
            each.sigma_rel: whole(average.averages[each], keep=main) for each in average.snapshots
        }
        if averages and main:
            snapshots.save(self.folder / "snapshots", seen, averages, self.config.every.snapshot)

    def _save(self, *names: str) -> None:
        """Save the run, and its averaged weights as the artifacts `names`.

        Training pauses until the save before is written and the run is copied to host memory.
        """
        card: dict[str, Any] = {}
        more: runs.Fill = runs.nothing
        with self.parallel.averaged(self.state.ema):
            if self.accelerator.is_main_process:
                card, more = self.stage.card(self.folder / "artifacts" / "default")
        if self.accelerator.is_main_process or self.parallel.team:
            self.writer.wait()
            copy = self.state.copy()
            self.writer.start(partial(self._write, copy, names, card, more))

    def _write(
        self, copy: HostCopy, names: tuple[str, ...], card: dict[str, Any], more: runs.Fill
    ) -> None:
        def artifacts() -> None:
            for name in names:
                runs.save(self.folder / "artifacts" / name, copy.weights, card | progress, more)

        progress = {
            "pictures_seen": copy.progress.pictures,
            "complete": copy.progress.done,
            "ema": self.state.ema.exported.card(),
            "metrics": copy.progress.metrics,
        }
        copy.write(self.folder / "checkpoints", self.config.keep, artifacts)

    def _written(self) -> None:
        """Wait until what was saved is on the disk, on all processes."""
        self.writer.wait()
        self.accelerator.wait_for_everyone()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """A signal to stop ends the run after the current step; a second SIGINT at once."""

        def handle(number: int, frame: FrameType | None) -> None:
            if number == self.interrupted == signal.SIGINT:
                raise KeyboardInterrupt
            self.interrupted = number
            print("\nfinishing this step, then saving", file=sys.stderr)

        old = {number: signal.signal(number, handle) for number in STOPS}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def move(batch: Batch, device: torch.device) -> Batch:
    """The batch with its pictures, noise and conditions on the device.

    Times stay on the CPU, where their coefficients are computed.
    """
    moved = {}
    for name, value in batch.items():
        if isinstance(value, Tensor) and name != "t":
            value = value.to(device, non_blocking=True)
        moved[name] = value.to(device) if isinstance(value, Cond) else value
    return moved
