"""Checkpoints: all that a resumed run needs, in safetensors and JSON."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from dmtool.config.cadence import Keep
from dmtool.device import asynchronous, locks_pages
from dmtool.errors import UserError
from dmtool.files import atomic, directories, reading
from dmtool.files.atomic import PARTIAL
from dmtool.files.digests import file_digest
from dmtool.files.tensors import read_tensors, write_tensors
from dmtool.train import team
from dmtool.train.ema import Ema
from dmtool.train.optim import optim_state
from dmtool.train.shard import local, whole
from dmtool.train.team import Team

log = logging.getLogger(__name__)

TENSORS = ("model.safetensors", "ema.safetensors", "optimizer.safetensors")
SUMS = "SHA256SUMS"
"""The files' checksums, as `sha256sum -c` reads them."""
STATE = "state.json"
MOST = 2**26
"""Bytes of the state."""
NUMBER = re.compile(r"\d{12,}\Z", re.ASCII)


@dataclass(frozen=True)
class Best:
    """The best held-out figure so far, and when it was measured."""

    metric: str
    value: float
    pictures: int


@dataclass
class Progress:
    """How far a run is: pictures seen, seconds spent, and whether its limit is reached.

    `owed`: what follows a save, figures and previews of its moment, is still to be done. `skipped`
    counts the steps that were not finite, `strikes` how many more of them there were than finite
    ones since; `offender` is where the last of them began, `good` the last checkpoint without a
    strike, `rollbacks` how often the run has gone back (see `recovery`).
    """

    pictures: int = 0
    seconds: float = 0.0
    done: bool = False
    owed: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    best: Best | None = None
    skipped: int = 0
    strikes: int = 0
    offender: int | None = None
    good: int | None = None
    rollbacks: int = 0

    def load(self, saved: Progress) -> None:
        """Take up the progress of a checkpoint."""
        vars(self).update(vars(saved))


@dataclass(frozen=True)
class Stored:
    """What state.json says; `files` are the checkpoint's others, by name."""

    progress: Progress
    groups: list[list[dict[str, Any]]]
    scaler: dict[str, Any]
    files: list[Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]] = field(default_factory=list)


def nothing() -> None:
    """Belongs to no checkpoint."""


@dataclass
class HostCopy:
    """A run at one moment, in host memory: training goes on while it is written.

    `weights` is the exported average, whole, on the main process.
    """

    progress: Progress
    tensors: dict[str, dict[str, Tensor]]
    settings: dict[str, Any]
    weights: dict[str, Tensor]

    def write(self, folder: Path, keep: Keep, first: Callable[[], None] = nothing) -> None:
        """Write `folder/PICTURES` atomically and delete the checkpoints not to be kept.

        What belongs to it is done `first`: when a checkpoint is there, so is all of its moment.
        """
        first()
        directories.replace(folder / self._name, self._fill)
        self._forget(folder, keep)

    def amend(self, folder: Path, keep: Keep) -> None:
        """Write `folder/PICTURES` again with `progress` as it is now; its tensors stay."""
        path = folder / self._name
        sums = {name: digest for name, digest in _sums(path).items() if name != STATE}

        def fill(new: Path) -> None:
            for name in sums:
                atomic.link(path / name, new / name)
            self._seal(new, sums)

        directories.replace(path, fill)
        self._forget(folder, keep)

    @property
    def _name(self) -> str:
        return f"{self.progress.pictures:012d}"

    def _forget(self, folder: Path, keep: Keep) -> None:
        saved = _all(folder)
        kept = retained([int(path.name) for path in saved], keep, self.progress.best)
        kept.add(self.progress.good or 0)
        for path in saved:
            if int(path.name) not in kept:
                directories.remove(path)

    def _fill(self, path: Path) -> None:
        for name, tensors in self.tensors.items():
            write_tensors(path / f"{name}.safetensors", tensors)
        self._seal(path, {name: file_digest(path / name) for name in TENSORS})

    def _seal(self, path: Path, sums: dict[str, str]) -> None:
        """Add the state, and the checksums of all."""
        state = {"progress": asdict(self.progress), "files": [*sums], **self.settings}
        (path / STATE).write_text(json.dumps(state))
        sums = {**sums, STATE: file_digest(path / STATE)}
        (path / SUMS).write_text("\n".join(f"{digest}  {name}" for name, digest in sums.items()))


@dataclass
class SharedCopy(HostCopy):
    """The same of a run in shards: the tensors are this process's parts, and all of a team write.

    The shards are gathered in a folder beside the checkpoint, which a kill leaves unfinished.
    """

    team: Team

    def write(self, folder: Path, keep: Keep, first: Callable[[], None] = nothing) -> None:
        aside = folder / f".{self._name}.shards{PARTIAL}"
        self.team.lead(first)
        self.team.lead(partial(shutil.rmtree, aside, ignore_errors=True))
        sums = team.write(_united(self.tensors), aside, self.team)
        self.team.lead(partial(self._finish, folder, keep, aside, sums))

    def _finish(self, folder: Path, keep: Keep, aside: Path, sums: dict[str, str]) -> None:
        def fill(path: Path) -> None:
            for name in sums:
                (aside / name).rename(path / name)
            self._seal(path, sums)

        directories.replace(folder / self._name, fill)
        aside.rmdir()
        self._forget(folder, keep)


@dataclass
class State:
    """The one list of everything that a checkpoint holds. Losses' random numbers need no state:
    they are functions of the pictures seen."""

    network: nn.Module
    ema: Ema
    optimizers: list[Optimizer]
    scaler: GradScaler
    progress: Progress
    team: Team | None = None
    buffers: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def copy(self) -> HostCopy:
        """Everything as it is now, in buffers that the next copy uses again.

        They are page-locked for a GPU, and stay: fresh memory costs more time than the copying.
        A team must copy together.
        """
        tensors, groups = optim_state.flatten(self.optimizers)
        contents = {"model": self.network.state_dict(), "ema": self.ema.state()}
        for name, content in {**contents, "optimizer": tensors}.items():
            _to_host(content, self.buffers.setdefault(name, {}))
        device = next(self.network.parameters()).device
        if asynchronous(device):
            torch.accelerator.synchronize(device)
        settings = {"groups": groups, "scaler": self.scaler.state_dict()}
        progress = deepcopy(self.progress)
        if self.team is None:
            weights = self.ema.exported_in(self.buffers["ema"])
            return HostCopy(progress, self.buffers, settings, weights)
        weights = whole(self.ema.weights, keep=self.team.leads)
        return SharedCopy(progress, self.buffers, settings, weights, self.team)

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
        state, shards = _verified(path)
        if shards or self.team:
            self._load_parts(path, state)
        else:
            weights, averages, tensors = (read_tensors(path / name) for name in TENSORS)
            _check_shapes(self.network.state_dict(), weights)
            _check_shapes(self.ema.state(), averages)
            self.network.load_state_dict(weights)
            self.ema.load(averages)
            optim_state.unflatten(self.optimizers, tensors, state.groups)
        self.scaler.load_state_dict(state.scaler)
        self.progress.load(state.progress)

    def _load_parts(self, path: Path, state: Stored) -> None:
        """Whether it was written whole or in shards, by however many processes."""
        weights = _united({"model": self.network.state_dict(), "ema": self.ema.state()})
        stored = team.stored(path)
        rest = {name: tensor for name, tensor in stored.items() if name not in weights}
        tensors = optim_state.empty(self.optimizers, rest)
        team.read(path, weights | tensors)
        optim_state.unflatten(self.optimizers, tensors, state.groups)


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
    return sorted(path for path in folder.glob("*") if NUMBER.match(path.name) and path.is_dir())


def _verified(path: Path) -> tuple[Stored, bool]:
    """A checkpoint's state, and whether it is in shards; UserError if a file is not as written."""
    sums = _sums(path)
    shards = TENSORS[0] not in sums
    _check(path, STATE, sums)
    state = reading.read_json(path / STATE, Stored, MOST)
    for name in state.files if shards else TENSORS:
        _check(path, name, sums)
    return state, shards


def _sums(path: Path) -> dict[str, str]:
    """The recorded digest of each file of a checkpoint."""
    lines = reading.read_text(path / SUMS).splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _check(path: Path, name: str, sums: dict[str, str]) -> None:
    if file_digest(path / name) != sums.get(name):
        raise UserError(f"{name} is damaged")


def _check_shapes(own: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    for name in sorted(own.keys() | stored.keys()):
        if name not in own or name not in stored or own[name].shape != stored[name].shape:
            raise UserError(f"{name} is that of another network")


def _put_aside(path: Path) -> None:
    """Rename a damaged checkpoint: it would count as the newest for ever."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def _to_host(tensors: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if name not in buffers:
            buffers[name] = torch.empty_like(
                tensor,
                device="cpu",
                pin_memory=locks_pages(tensor.device),
                memory_format=torch.contiguous_format,
            )
        local(buffers[name]).copy_(local(tensor), non_blocking=True)


def _united(contents: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all files by name: the averages' and the optimizers' names have prefixes."""
    union = {name: tensor for content in contents.values() for name, tensor in content.items()}
    assert len(union) == sum(map(len, contents.values()))
    return union
