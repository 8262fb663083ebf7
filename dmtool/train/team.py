"""A checkpoint that several processes write, each its shards, by torch.distributed.checkpoint.

The files' own headers say which part of which tensor they hold: no pickle is needed, and any
number of processes reads them, as it reads files of whole tensors.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from dmtool.errors import UserError
from dmtool.files import atomic
from dmtool.files.digests import file_digest
from dmtool.files.directories import nothing

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """Processes that act together: what fails on one fails on all, and none waits in vain."""

    group: dist.ProcessGroup

    @property
    def leads(self) -> bool:
        """Whether this is the main process."""
        return dist.get_rank(self.group) == 0

    def do(self, act: Callable[[], T]) -> list[T]:
        """What `act` returns on each process; an error on all of them if it fails on one."""
        failed: Exception | None = None
        mine: tuple[T | None, Any] = None, None
        try:
            mine = act(), None
        except Exception as error:
            failed, mine = error, (None, (getattr(error, "errno", None), str(error)))
        told: list[Any] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(told, mine, group=self.group)
        if failed:
            raise failed
        for rank, (_, theirs) in enumerate(told):
            if theirs:
                raise OSError(theirs[0], f"process {rank}: {theirs[1]}")
        return [result for result, _ in told]

    def lead(self, act: Callable[[], object]) -> None:
        """Do `act` on the main process alone; an error on all of them if it fails."""
        self.do(act if self.leads else nothing)


def write(tensors: Mapping[str, Tensor], folder: Path, team: Team) -> dict[str, str]:
    """Write the team's shards into `folder`, synced to the disk; their files' sha256 by name."""
    digests = team.do(partial(_write, dict(tensors), folder, team.group))
    return dict(digests)


def _write(tensors: dict[str, Any], folder: Path, group: dist.ProcessGroup) -> tuple[str, str]:
    storage = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    storage.per_thread_copy_ahead = 0  # all is on the host: wake no GPU on this thread
    with _plain_errors():
        dcp.save(tensors, storage_writer=storage, process_group=group)
    (mine,) = folder.glob(f"shard-{dist.get_rank(group) + 1:05d}-*.safetensors")
    atomic.sync(mine)
    return mine.name, file_digest(mine)


def stored(folder: Path) -> dict[str, Tensor]:
    """The tensors in the safetensors files of a folder, whole or in shards, on the meta device."""
    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {
        name: torch.empty(each.size, dtype=each.properties.dtype, device="meta")
        for name, each in found.items()
        if isinstance(each, TensorStorageMetadata)
    }


def read(folder: Path, into: Mapping[str, Tensor]) -> None:
    """Fill tensors, and this process's parts of shards, from the safetensors files of a folder.

    UserError if one is missing there or has another shape. No other process need take part.
    """
    storage = HuggingFaceStorageReader(str(folder))
    with _plain_errors(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.load(dict(into), storage_reader=storage, no_dist=True)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """The first process's error instead of the collection of all, which is no Exception."""
    try:
        yield
    except CheckpointException as failed:
        error, _ = next(iter(failed.failures.values()))
        if isinstance(error, OSError | UserError):
            raise error from None
        raise UserError(f"{type(error).__name__}: {error}") from failed
