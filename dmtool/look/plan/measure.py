"""Trying a stage's training on this machine: its real data, network and loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dmtool import runs
from dmtool.config.stages import FromVae
from dmtool.config.training import Train
from dmtool.data.source import Source
from dmtool.look.plan import memory, outline
from dmtool.look.plan.forecast import Costs, FileSizes
from dmtool.look.plan.loading import Few, Loading, loading
from dmtool.look.plan.outline import Outline
from dmtool.look.plan.rehearsal import Rehearsal, rehearsal
from dmtool.train import start
from dmtool.train.stage import Stage
from dmtool.train.stages.kinds import KINDS

MOST = 4096
"""The largest micro-batch that is tried."""


@dataclass(frozen=True)
class Measured:
    """What a trial found.

    Other programs had the processor for the share `waited` of its time; micro-batches were of
    `micro` pictures, fewer than asked for where memory ran out; `free` bytes of memory were left;
    `largest` is the largest power of two of a micro-batch that a GPU takes (None: not tried).
    """

    device: torch.device
    dtype: torch.dtype
    costs: Costs
    waited: float
    micro: int
    loading: Loading
    peak: memory.Peak
    free: int
    largest: int | None
    sizes: FileSizes
    outline: Outline


def measure(config: Train) -> Measured:
    """Try a stage's training in a temporary directory beside the user's runs.

    Caches are read and filled as in training.
    """
    kept, apart, kind = _Kept(), _apart(config), KINDS[type(config)]
    with TemporaryDirectory(dir=config.root, prefix=".dmtool-plan-") as root:
        start.train(replace(apart, root=root), kept.build, kind.parent, kept.trainer)
        return _found(kept, _sizes(Path(root) / config.run / config.stage))


class _Kept:
    """What `start.train` makes on the way: the stage, on few examples, and its trainer."""

    stage: Any
    loading: Loading
    rehearsal: Rehearsal

    def build(self, config: Train, device: torch.device, loaded: Source) -> Any:
        self.stage = KINDS[type(config)].build(config, device, loaded)
        self.loading = loading(self.stage.feed, config)
        self.stage.feed = Few(self.stage.feed, self.loading.rows)
        return self.stage

    def trainer(self, *arguments: Any) -> Rehearsal:
        self.rehearsal = rehearsal(*arguments)
        return self.rehearsal


def _found(kept: _Kept, sizes: FileSizes) -> Measured:
    played = kept.rehearsal
    context, program = played.context, played.program
    micro, gpu = context.share // played.step.parts, context.device.type == "cuda"
    return Measured(
        device=context.device,
        dtype=context.dtype,
        costs=program.costs,
        waited=program.waited,
        micro=micro,
        loading=kept.loading,
        peak=program.peak,
        free=memory.free(),
        largest=memory.largest(played.fits, MOST) if gpu else None,
        sizes=sizes,
        outline=_outline(kept.stage, kept.stage.config),
    )


def _apart(config: Train) -> Train:
    """The same training for another place: what it begins from is found by path."""

    def absolute(run: str, stage: str) -> str:
        runs.find(run, stage, config.root)  # a missing one is said in the user's words
        return str(runs.run_dir(run, config.root).resolve())

    changes: dict[str, Any] = {
        "track": [],
        "init": config.init and absolute(config.init, config.stage),
    }
    for stage, run in config.parents.items():
        changes["from_"] = FromVae(**{stage: absolute(run, stage)})
    return replace(config, **changes)


def _outline(stage: Stage, config: Train) -> Outline:
    """The outline of a stage that is there, with captions as long as in its first batch."""
    if stage.text is None:
        return outline.of_config(config)
    states = stage.feed.batch(range(config.batch_size)).tensors().get("cond.states")
    return outline.of_config(config, stage.text, 0 if states is None else states.shape[1])


def _sizes(folder: Path) -> FileSizes:
    return FileSizes(
        checkpoint=_bytes(max((folder / "checkpoints").iterdir())),
        artifact=_bytes(folder / "artifacts" / "default"),
        snapshot=max(map(_bytes, (folder / "snapshots").glob("*")), default=0),
        preview=_bytes(folder / "previews"),
    )


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
