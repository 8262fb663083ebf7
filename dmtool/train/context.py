"""What the parts of a training share: its config, its state, and the processes it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from dmtool.config.training import Train
from dmtool.processes import Group
from dmtool.train.ema import Ema
from dmtool.train.log import Log
from dmtool.train.parallel import Parallel
from dmtool.train.progress import Progress
from dmtool.train.stage import Stage
from dmtool.train.state import State


@dataclass(frozen=True)
class Context:
    """One training of a stage in `folder`; `resumed`: it goes on from a checkpoint."""

    stage: Stage
    config: Train
    folder: Path
    accelerator: Accelerator
    parallel: dict[str, Parallel]
    group: Group
    dtype: torch.dtype
    state: State
    log: Log
    resumed: bool

    @property
    def share(self) -> int:
        """Pictures of a step that each process computes."""
        return self.config.batch_size // self.accelerator.num_processes

    @property
    def shown(self) -> Parallel:
        """How the processes share the network that is exported."""
        return next(iter(self.parallel.values()))

    @property
    def average(self) -> Ema:
        """Of the network that is exported."""
        return self.state.main.average

    @property
    def progress(self) -> Progress:
        return self.state.progress

    @property
    def device(self) -> torch.device:
        return self.accelerator.device
