"""What a training does beside its steps, at its cadences and at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dmtool import runs
from dmtool.device import autocast, peak_memory
from dmtool.train import snapshots
from dmtool.train.checkpoint import Best, HostCopy
from dmtool.train.context import Context
from dmtool.train.evaluation import Evaluation
from dmtool.train.shard import whole
from dmtool.train.writer import Writer


class Occasions:
    """Log, validate, evaluate, preview, and save, on averaged weights."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.writer = Writer()
        wanted = context.config.every.evaluate
        self.evaluation = (
            Evaluation(context.config, context.stage, context.device) if wanted else None
        )

    def due(self) -> bool:
        """Whether the time of one of them has come."""
        every = self.context.config.every
        return any(map(self._crossed, vars(every).values()))

    def __call__(self, done: bool) -> None:
        """After a step: do all whose time has come; `done` after the last one."""
        every, progress = self.context.config.every, self.context.progress
        if done or self._crossed(every.log):
            self._log()
        measured: dict[str, float] = {}
        if done or self._crossed(every.validate):
            measured |= self._on_main(self._validate)
        if self.evaluation and (done or self._crossed(every.evaluate)):
            measured |= self._on_main(self._evaluate)
        progress.metrics |= measured
        improved = self._improved(measured)
        if done or self._crossed(every.preview):
            path = self.context.folder / "previews" / f"{progress.pictures:09d}.png"
            self._on_main(lambda: self._preview(path))
        if done or self._crossed(every.snapshot):
            self._snapshot()
        if done or improved or self._crossed(every.checkpoint):
            progress.done = done
            self.save("default", *(["best"] if improved else []))

    def save(self, *names: str) -> None:
        """Save the run, and its averaged weights as the artifacts `names`.

        Training pauses until the save before is written and the run is copied to host memory.
        """
        context = self.context
        if not context.progress.strikes:
            context.progress.good = context.progress.pictures
        card: dict[str, Any] = {}
        more: runs.Fill = runs.nothing
        with context.parallel.averaged(context.state.ema):
            if context.accelerator.is_main_process:
                card, more = context.stage.card(context.folder / "artifacts" / "default")
        if context.accelerator.is_main_process or context.parallel.team:
            self.writer.wait()
            copy = context.state.copy()
            self.writer.start(partial(self._write, copy, names, card, more))

    def written(self) -> None:
        """Wait until what was saved is on the disk, on all processes."""
        with self.context.group.busy():
            self.writer.wait()
        self.context.group.wait()

    def _crossed(self, every: int | None) -> bool:
        if every is None:
            return False
        seen = self.context.progress.pictures
        return seen // every > (seen - self.context.config.batch_size) // every

    def _improved(self, measured: dict[str, float]) -> bool:
        """Whether the figure named by `keep.best` is now the best so far; it is noted then."""
        config, progress = self.context.config, self.context.progress
        metric, best = config.keep.best, progress.best
        if metric is None or metric not in measured:
            return False
        value = measured[metric]
        if best and best.metric == metric:
            better = config.judged[metric]
            if better(best.value, value) == best.value:
                return False
        progress.best = Best(metric, value, progress.pictures)
        return True

    def _on_main(self, act: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What `act` finds of the averaged weights on the main process, for all processes."""
        context = self.context
        with context.parallel.averaged(context.state.ema), autocast(context.device, context.dtype):
            return context.group.on_main(act)

    def _validate(self) -> dict[str, float]:
        metrics = self.context.stage.validate()
        self.context.log.figures(self.context.progress, metrics)
        return metrics

    def _evaluate(self) -> dict[str, float]:
        assert self.evaluation is not None
        metrics = self.evaluation(self.context.stage)
        self.context.log.figures(self.context.progress, metrics)
        return metrics

    def _preview(self, path: Path) -> dict[str, float]:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.context.stage.preview(path)
        self.context.log.picture(self.context.progress, path)
        return {}

    def _log(self) -> None:
        context, progress = self.context, self.context.progress
        more = {
            "ema_distance": context.state.ema.distance().item(),
            "memory_gb": round(peak_memory(context.device), 3),
            "skipped": progress.skipped,
            "rollbacks": progress.rollbacks,
        }
        context.log.write(progress, more)

    def _snapshot(self) -> None:
        """Before the checkpoint, so that a run that goes on from there has all that came before."""
        context = self.context
        average, seen = context.state.ema, context.progress.pictures
        main, every = context.accelerator.is_main_process, context.config.every.snapshot
        averages = {
            each.sigma_rel: whole(average.averages[each], keep=main) for each in average.snapshots
        }
        if averages and main:
            snapshots.save(context.folder / "snapshots", seen, averages, every)

    def _write(
        self, copy: HostCopy, names: tuple[str, ...], card: dict[str, Any], more: runs.Fill
    ) -> None:
        folder = self.context.folder
        progress = {
            "pictures_seen": copy.progress.pictures,
            "complete": copy.progress.done,
            "ema": self.context.state.ema.exported.card(),
            "metrics": copy.progress.metrics,
        }

        def artifacts() -> None:
            for name in names:
                runs.save(folder / "artifacts" / name, copy.weights, card | progress, more)

        copy.write(folder / "checkpoints", self.context.config.keep, artifacts)
