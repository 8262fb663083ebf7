"""What the parts of a training share: its config, its state, and the processes it runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

from dmtool.schemas import Train
from dmtool.train.checkpoint import Progress, State
from dmtool.train.log import Log
from dmtool.train.parallel import Parallel
from dmtool.train.stage import Stage

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """One training of a stage in `folder`; `control` connects the processes' CPUs, if several."""

    stage: Stage
    config: Train
    folder: Path
    accelerator: Accelerator
    control: dist.ProcessGroup | None
    parallel: Parallel
    dtype: torch.dtype
    state: State
    log: Log

    @property
    def share(self) -> int:
        """Pictures of a step that each process computes."""
        return self.config.batch_size // self.accelerator.num_processes

    @property
    def progress(self) -> Progress:
        return self.state.progress

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def largest(self, values: Tensor) -> Tensor:
        """The largest of all processes' values, on the CPU: all decide alike."""
        if self.control is not None:
            dist.all_reduce(values, dist.ReduceOp.MAX, group=self.control)
        return values

    def on_main(self, act: Callable[[], T]) -> T:
        """What `act` finds on the main process, for all processes."""
        box: list[T | None] = [act() if self.accelerator.is_main_process else None]
        if self.control is not None:
            dist.broadcast_object_list(box, group=self.control)
        return box[0]  # type: ignore[return-value]
