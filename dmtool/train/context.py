"""What the parts of a training share: its config, its state, and the processes it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from dmtool.config.training import Train
from dmtool.processes import Group
from dmtool.train.checkpoint import Progress, State
from dmtool.train.log import Log
from dmtool.train.parallel import Parallel
from dmtool.train.stage import Stage


@dataclass(frozen=True)
class Context:
    """One training of a stage in `folder`."""

    stage: Stage
    config: Train
    folder: Path
    accelerator: Accelerator
    parallel: Parallel
    group: Group
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
