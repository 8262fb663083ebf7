"""Checkpoints: all that a resumed run needs, in safetensors and JSON."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from dmtool import runs
from dmtool.cache import file_digest
from dmtool.errors import UserError
from dmtool.schemas import Keep
from dmtool.train.ema import Ema

log = logging.getLogger(__name__)

TENSORS = ("model.safetensors", "ema.safetensors", "optimizer.safetensors")
FILES = (*TENSORS, "state.json")
SUMS = "SHA256SUMS"
"""The files' checksums, as `sha256sum -c` reads them."""


@dataclass(frozen=True)
class Best:
    """The best held-out figure so far, and when it was measured."""

    metric: str
    value: float
    pictures: int


@dataclass
class Progress:
    """How far a run is: pictures seen, seconds spent, and whether its limit is reached.

    `skipped` counts the steps that were not finite, `strikes` how many more of them there were than
    finite ones since; `offender` is where the last of them began, `good` the last checkpoint
    without a strike, `rollbacks` how often the run has gone back (see `recovery`).
    """

    pictures: int = 0
    seconds: float = 0.0
    done: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    best: Best | None = None
    skipped: int = 0
    strikes: int = 0
    offender: int | None = None
    good: int | None = None
    rollbacks: int = 0

    def load(self, saved: dict[str, Any]) -> None:
        """Take up the progress of a checkpoint."""
        best = saved["best"] and Best(**saved["best"])
        vars(self).update(saved | {"best": best})


@dataclass
class HostCopy:
    """A run at one moment, in host memory: training goes on while it is written."""

    progress: Progress
    tensors: dict[str, dict[str, Tensor]]
    settings: dict[str, Any]

    def write(self, folder: Path, keep: Keep) -> None:
        """Write `folder/PICTURES` atomically and delete the checkpoints not to be kept."""
        runs.replace_directory(folder / f"{self.progress.pictures:012d}", self._fill)
        saved = _all(folder)
        kept = retained([int(path.name) for path in saved], keep, self.progress.best)
        kept.add(self.progress.good or 0)
        for path in saved:
            if int(path.name) not in kept:
                runs.remove_directory(path)

    def _fill(self, path: Path) -> None:
        for name, tensors in self.tensors.items():
            runs.write_tensors(path / f"{name}.safetensors", tensors)
        state = {"progress": asdict(self.progress), **self.settings}
        (path / "state.json").write_text(json.dumps(state))
        sums = [f"{file_digest(path / name)}  {name}" for name in FILES]
        (path / SUMS).write_text("\n".join(sums))


@dataclass
class State:
    """The one list of everything that a checkpoint holds. Losses' random numbers need no state:
    they are functions of the pictures seen."""

    network: nn.Module
    ema: Ema
    optimizers: list[Optimizer]
    scaler: GradScaler
    progress: Progress
    buffers: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def copy(self) -> HostCopy:
        """Everything as it is now, in buffers that the next copy uses again.

        They are page-locked for a GPU, and stay: fresh memory costs more time than the copying.
        """
        tensors, groups = _flatten(self.optimizers)
        contents = {"model": self.network.state_dict(), "ema": self.ema.state()}
        for name, content in {**contents, "optimizer": tensors}.items():
            _to_host(content, self.buffers.setdefault(name, {}))
        device = next(self.network.parameters()).device
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        settings = {"groups": groups, "scaler": self.scaler.state_dict()}
        return HostCopy(deepcopy(self.progress), self.buffers, settings)

    def load_newest(self, folder: Path) -> bool:
        """Go on from the newest checkpoint that is whole; damaged ones are reported and put aside.

        False if there is none; UserError if there are some and none is whole.
        """
        damaged: list[Path] = []
        for path in reversed(_all(folder)):
            try:
                self.load(path)
            except (ValueError, KeyError, OSError) as error:
                log.warning("%s cannot be used, taking the one before: %s", path, error)
                damaged.append(path)
            else:
                for each in damaged:
                    _put_aside(each)
                return True
        if damaged:
            run = folder.parent
            raise UserError(f"no checkpoint in {folder} is whole; delete {run} to begin anew")
        return False

    def load(self, path: Path) -> None:
        """Take up a checkpoint; ValueError, KeyError or OSError if it is damaged."""
        _verify(path)
        state = json.loads((path / "state.json").read_text())
        self.network.load_state_dict(runs.read_tensors(path / "model.safetensors"))
        self.ema.load(runs.read_tensors(path / "ema.safetensors"))
        _unflatten(self.optimizers, runs.read_tensors(path / "optimizer.safetensors"), state)
        self.scaler.load_state_dict(state["scaler"])
        self.progress.load(state["progress"])


def retained(saved: Sequence[int], keep: Keep, best: Best | None) -> set[int]:
    """Which of the checkpoints at these ascending numbers of pictures are kept.

    The last `keep.last`, the first at or after each multiple of `keep.every`, and the best.
    """
    kept = set(saved[-keep.last :])
    if keep.every:
        first = {pictures // keep.every: pictures for pictures in reversed(saved)}
        kept |= {pictures for multiple, pictures in first.items() if multiple}
    if keep.best and best:
        kept.add(best.pictures)
    return kept


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.isdigit() and path.is_dir())


def _verify(path: Path) -> None:
    """Raise UserError, or OSError, if a file of a checkpoint is not as it was written."""
    lines = (path / SUMS).read_text().splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in FILES:
        if file_digest(path / name) != sums.get(name):
            raise UserError(f"{name} is damaged")


def _put_aside(path: Path) -> None:
    """Rename a damaged checkpoint: it would count as the newest for ever."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def _to_host(tensors: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if name not in buffers:
            buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        buffers[name].copy_(tensor, non_blocking=True)


def _flatten(optimizers: list[Optimizer]) -> tuple[dict[str, Tensor], list[Any]]:
    """The optimizers' state as tensors by 'optimizer.parameter.name', and their groups as JSON."""
    tensors: dict[str, Tensor] = {}
    groups = []
    for i, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        groups.append(state["param_groups"])
        for parameter, values in state["state"].items():
            tensors |= {f"{i}.{parameter}.{name}": value for name, value in values.items()}
    return tensors, groups


def _unflatten(optimizers: list[Optimizer], tensors: dict[str, Tensor], saved: Any) -> None:
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, value in tensors.items():
        i, parameter, name = key.split(".", 2)
        states[int(i)].setdefault(int(parameter), {})[name] = value
    for optimizer, state, groups in zip(optimizers, states, saved["groups"], strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": groups})
