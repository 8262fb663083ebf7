"""Checkpoints: all that a resumed run needs, in safetensors and JSON."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from dmtool.config.cadence import Keep
from dmtool.errors import UserError
from dmtool.files import atomic, directories, reading
from dmtool.files.atomic import PARTIAL
from dmtool.files.digests import file_digest
from dmtool.files.directories import nothing
from dmtool.files.tensors import write_tensors
from dmtool.train import team
from dmtool.train.progress import Best, Progress
from dmtool.train.team import Team

OLDER = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"]
"""The tensors of a checkpoint that does not list its files."""
SUMS = "SHA256SUMS"
"""The files' checksums, as `sha256sum -c` reads them."""
STATE = "state.json"
MOST = 2**26
"""Bytes of the state."""
Groups = list[list[dict[str, Any]]]
"""Of each optimizer."""
NUMBER = re.compile(r"\d{12,}\Z", re.ASCII)


@dataclass(frozen=True)
class Stored:
    """What state.json says; `files` are the checkpoint's others, by name.

    `groups` are the optimizers' of the first player, `others` those of the others by name.
    """

    progress: Progress
    groups: Groups
    scaler: dict[str, Any]
    files: list[Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]] = field(default_factory=list)
    others: dict[str, Groups] = field(default_factory=dict)


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
        saved = all_in(folder)
        kept = retained([int(path.name) for path in saved], keep, self.progress.best)
        kept.add(self.progress.good or 0)
        for path in saved:
            if int(path.name) not in kept:
                directories.remove(path)

    def _fill(self, path: Path) -> None:
        for name, tensors in self.tensors.items():
            write_tensors(path / file(name), united({name: tensors}))
        self._seal(path, {name: file_digest(path / name) for name in map(file, self.tensors)})

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
        sums = team.write(united(self.tensors), aside, self.team)
        self.team.lead(partial(self._finish, folder, keep, aside, sums))

    def _finish(self, folder: Path, keep: Keep, aside: Path, sums: dict[str, str]) -> None:
        def fill(path: Path) -> None:
            for name in sums:
                (aside / name).rename(path / name)
            self._seal(path, sums)

        directories.replace(folder / self._name, fill)
        aside.rmdir()
        self._forget(folder, keep)


def file(content: str) -> str:
    """The file of tensors of this name."""
    return f"{content}.safetensors"


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


def all_in(folder: Path) -> list[Path]:
    """Checkpoints, the oldest first."""
    return sorted(path for path in folder.glob("*") if NUMBER.match(path.name) and path.is_dir())


def verified(path: Path) -> tuple[Stored, bool]:
    """A checkpoint's state, and whether it is in shards; UserError if a file is not as written."""
    sums = _sums(path)
    _check(path, STATE, sums)
    state = reading.read_json(path / STATE, Stored, MOST)
    for name in state.files or OLDER:
        _check(path, name, sums)
    return state, OLDER[0] not in sums


def _sums(path: Path) -> dict[str, str]:
    """The recorded digest of each file of a checkpoint."""
    lines = reading.read_text(path / SUMS).splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _check(path: Path, name: str, sums: dict[str, str]) -> None:
    if file_digest(path / name) != sums.get(name):
        raise UserError(f"{name} is damaged")


def united(contents: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all files in one."""
    union = {
        f"{_prefix(name)}{key}": tensor
        for name, content in contents.items()
        for key, tensor in content.items()
    }
    assert len(union) == sum(map(len, contents.values()))
    return union


def part(tensors: Mapping[str, Tensor], content: str) -> dict[str, Tensor]:
    """Those of one file, of all that `united` has brought together."""
    prefix = _prefix(content)
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if (key.startswith(prefix) if prefix else ":" not in key)
    }


def _prefix(content: str) -> str:
    """No two files have tensors of one name, so that any number of processes reads them. The first
    player's are as they are: those of averages and optimizers begin with what they are."""
    return "" if file(content) in OLDER else f"{content}:"
