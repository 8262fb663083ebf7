"""The processes that share one command: who they are, and what they share out and gather.

A launcher (torchrun, accelerate launch) starts the same command several times; all of them see the
same run directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from dmtool.alive import SILENT, Alive
from dmtool.device import pick_device
from dmtool.errors import UserError

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""Of operations on the CPU: they wait for processes that are alive; lost ones are found by their
silence."""


@dataclass(frozen=True)
class Group:
    """This process among all of the command; `control` connects them by way of their CPUs."""

    rank: int = 0
    world: int = 1
    control: dist.ProcessGroup | None = None
    alive: Alive | None = None

    @property
    def main(self) -> bool:
        """Whether this is the process that prints and writes what there is once."""
        return self.rank == 0

    @property
    def silent(self) -> bool | None:
        """`disable=` of a progress bar: the main process shows one, on a terminal."""
        return None if self.main else True

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of items that all have: each is in exactly one process's part."""
        return items[self.rank :: self.world]

    def gather(self, value: T) -> list[T]:
        """The values of all processes by rank, on the main one; nothing on the others."""
        if self.control is None:
            return [value]
        values: list[Any] = [None] * self.world
        dist.gather_object(value, values if self.main else None, 0, self.control)
        return values if self.main else []

    def merge(self, part: Sequence[T]) -> list[T]:
        """What `share` has shared out, in its order, on the main process; nothing on the others."""
        parts = self.gather(part)
        rounds = range(max(map(len, parts), default=0))
        return [each[i] for i in rounds for each in parts if i < len(each)]

    def largest(self, values: Tensor) -> Tensor:
        """The largest of each value over all processes; float64 on the CPU."""
        self.mark()
        if self.control is not None:
            dist.all_reduce(values, dist.ReduceOp.MAX, group=self.control)
        return values

    def on_main(self, act: Callable[[], T]) -> T:
        """What `act` gives on the main process, for all; they wait as long as it takes."""
        box: list[Any] = [None]
        if self.main:
            with self.busy():
                box = [act()]
        if self.control is not None:
            dist.broadcast_object_list(box, 0, self.control)
        return cast(T, box[0])

    def busy(self) -> AbstractContextManager[None]:
        """Within it this process may take as long as it likes."""
        return self.alive.busy() if self.alive else nullcontext()

    def mark(self) -> None:
        """Say that the work goes on."""
        if self.alive:
            self.alive.mark()

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.control is not None:
            dist.barrier(group=self.control)


ALONE = Group()
"""The group of a command of one process."""


class Computing(Protocol):
    """The config of a command that computes."""

    @property
    def device(self) -> str: ...

    @property
    def timeout(self) -> float: ...


@contextmanager
def of(config: Computing) -> Iterator[tuple[Group, torch.device]]:
    """The group of all processes of a command, and the device that this one computes on."""
    device = pick_device(config.device)
    with started(device, config.timeout) as group:
        yield group, device


@contextmanager
def started(device: torch.device, timeout: float) -> Iterator[Group]:
    """The group of all processes of this command. They end together.

    An error in one of them, its end, or `timeout` seconds without a sign of life from it end the
    others, with its name. UserError if a launcher has started several that are not connected.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    group, alive = _connect(device, timeout)
    try:
        yield group
        group.wait()
    except BaseException as error:
        alive.end(error)
        raise
    finally:
        alive.stop()
    dist.destroy_process_group()


def _connect(device: torch.device, timeout: float) -> tuple[Group, Alive]:
    state = _state(device, timeout)
    control = dist.new_group(backend="gloo", timeout=PATIENCE)
    everyone = dist.group.WORLD
    assert everyone is not None
    rank, world = state.process_index, state.num_processes
    store = everyone.get_group_store().clone()  # type: ignore[attr-defined]
    alive = Alive(store, rank, world, timeout)
    dist.barrier(group=control)
    alive.start()
    return Group(rank, world, control, alive), alive


def _state(device: torch.device, timeout: float) -> PartialState:
    """Accelerate's view of the processes; its time-out is longer than ours, which gives names."""
    from accelerate import PartialState

    expected = int(os.environ["WORLD_SIZE"])
    longer = timedelta(seconds=2 * timeout + SILENT)
    state = PartialState(cpu=device.type == "cpu", timeout=longer)
    if state.num_processes != expected:
        raise UserError(
            f"{expected} processes were started but are not connected; on CPUs type: "
            "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes "
            f"{expected} -m dmtool ..., or use torchrun"
        )
    return state
