"""What a training does beside its steps, at its cadences and at the end."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dmtool import runs
from dmtool.device import autocast, peak_memory
from dmtool.diffusion.network import for_use
from dmtool.files.directories import Fill, nothing
from dmtool.train import snapshots
from dmtool.train.checkpoint import HostCopy
from dmtool.train.context import Context
from dmtool.train.evaluation import Evaluation
from dmtool.train.progress import Best
from dmtool.train.shard import whole
from dmtool.train.writer import Writer


class Save(NamedTuple):
    """What is written of a moment: the run, and its artifacts' card and further files."""

    copy: HostCopy
    card: dict[str, Any]
    more: Fill


class Occasions:
    """Log, save, validate, evaluate and preview, on averaged weights.

    What a run can do without comes after the save, so that no failure of it costs a picture; then
    what it has found is added to what was saved. A run that was cut off between makes up for it
    when it goes on.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.writer = Writer()
        self._latest: Save | None = None
        self._saved: int | None = None
        wanted = context.config.every.evaluate
        self.evaluation = (
            Evaluation(context.config, context.stage, context.device) if wanted else None
        )

    def due(self) -> bool:
        """Whether the time of one of them has come."""
        every = self.context.config.every
        return any(map(self._crossed, vars(every).values()))

    def __call__(self, done: bool, stop: bool = False) -> None:
        """After a step: do all whose time has come; `done` after the last one. With `stop` there is
        time for a save alone."""
        every, progress = self.context.config.every, self.context.progress
        progress.done = done
        if self._is_time(every.log):
            self._log()
        if self._is_time(every.snapshot):
            self._snapshot()
        if done or stop or self._crossed(every.checkpoint):
            progress.owed = any(map(self._is_time, self._optional))
            self.save("default")
        self.context.log.tell()
        if done or not stop:
            self.attend()

    def attend(self) -> None:
        """Validate, evaluate and preview if it is their time."""
        progress, shows = self.context.progress, self._is_time(self.context.config.preview_every)
        measured = self._measured()
        progress.metrics |= measured
        improved = ["best"] if self._improved(measured) else []
        if progress.owed:
            progress.owed = shows
            self._add("default", *improved)
        elif improved:
            self.save("default", *improved)
        if shows:
            self._on_main(lambda: self._preview(self._picture))
        if progress.owed:
            progress.owed = False
            self._add()

    @property
    def _optional(self) -> list[int | None]:
        """The cadences of what comes after the save."""
        config = self.context.config
        return [config.every.validate, config.every.evaluate, config.preview_every]

    @property
    def _picture(self) -> Path:
        """The preview of this moment."""
        return self.context.folder / "previews" / f"{self.context.progress.pictures:09d}.png"

    def _measured(self) -> dict[str, float]:
        every = self.context.config.every
        measured: dict[str, float] = {}
        if self._is_time(every.validate):
            measured |= self._on_main(self._validate)
        if self._is_time(every.evaluate):
            measured |= self._on_main(self._evaluate)
        return measured

    def save(self, *names: str) -> None:
        """Save the run, and its averaged weights as the artifacts `names`.

        Training pauses until the save before is written and the run is copied to host memory.
        """
        context = self.context
        if not context.progress.strikes:
            context.progress.good = context.progress.pictures
        card: dict[str, Any] = {}
        more: Fill = nothing
        with context.shown.averaged(context.average):
            if context.accelerator.is_main_process:
                card, more = context.stage.card(context.folder / "artifacts" / "default")
        self._saved = context.progress.pictures
        if context.accelerator.is_main_process or context.shown.team:
            self.writer.wait()
            self._latest = Save(context.state.copy(), card, more)
            self.writer.start(partial(self._write, self._latest, names))

    def _add(self, *names: str) -> None:
        """Add what is known by now to what was saved of this moment, and to the artifacts `names`.

        Whoever begins with what another process has saved saves it anew.
        """
        if self._saved != self.context.progress.pictures:
            self.save(*names)
        elif self._latest and self.context.accelerator.is_main_process:
            copy = replace(self._latest.copy, progress=deepcopy(self.context.progress))
            self._latest = self._latest._replace(copy=copy)
            self.writer.then(partial(self._write_again, self._latest, names))

    def written(self) -> None:
        """Wait until what was saved is on the disk, on all processes."""
        with self.context.group.busy():
            self.writer.wait()
        self.context.group.wait()

    def _is_time(self, every: int | None) -> bool:
        """Whether what has this cadence is due: all is at the end, but what never is."""
        return every is not None and (self.context.progress.done or self._crossed(every))

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
        with context.shown.averaged(context.average), autocast(context.device, context.dtype):
            return context.group.on_main(act)

    def _validate(self) -> dict[str, float]:
        return self._told(self.context.stage.validate())

    def _evaluate(self) -> dict[str, float]:
        assert self.evaluation is not None
        return self._told(self.evaluation(self.context.stage))

    def _told(self, figures: dict[str, float]) -> dict[str, float]:
        self.context.log.figures(self.context.progress, figures)
        self.context.log.tell()
        return figures

    def _preview(self, path: Path) -> dict[str, float]:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.context.stage.preview(path)
        self.context.log.picture(self.context.progress, path)
        return {}

    def _log(self) -> None:
        context, progress = self.context, self.context.progress
        more = {
            "ema_distance": context.average.distance().item(),
            "memory_gb": round(peak_memory(context.device), 3),
            "skipped": progress.skipped,
            "rollbacks": progress.rollbacks,
        }
        context.log.write(progress, more)

    def _snapshot(self) -> None:
        """Before the checkpoint, so that a run that goes on from there has all that came before."""
        context = self.context
        average, seen = context.average, context.progress.pictures
        main, every = context.accelerator.is_main_process, context.config.every.snapshot
        assert every is not None
        averages = {
            each.sigma_rel: whole(average.averages[each], keep=main) for each in average.snapshots
        }
        if averages and main:
            snapshots.save(context.folder / "snapshots", seen, averages, every)

    def _write(self, save: Save, names: tuple[str, ...]) -> None:
        folder, keep = self.context.folder / "checkpoints", self.context.config.keep
        save.copy.write(folder, keep, partial(self._export, save, names))

    def _write_again(self, save: Save, names: tuple[str, ...]) -> None:
        self._export(save, names)
        save.copy.amend(self.context.folder / "checkpoints", self.context.config.keep)

    def _export(self, save: Save, names: tuple[str, ...]) -> None:
        """Write the averaged weights as the artifacts `names`."""
        progress = {
            "pictures_seen": save.copy.progress.pictures,
            "complete": save.copy.progress.done,
            "ema": self.context.average.exported.card(),
            "metrics": save.copy.progress.metrics,
        }
        weights = for_use(save.copy.weights)
        for name in names:
            path = self.context.folder / "artifacts" / name
            runs.save(path, weights, save.card | progress, save.more)
