"""Where figures and previews go besides metrics.jsonl: accelerate's trackers, as runs need them.

A run that goes on after a kill repeats the pictures since its last checkpoint; no tracker shows a
point twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from accelerate.tracking import TensorBoardTracker
from PIL import Image

from dmtool.errors import require
from dmtool.schemas import Train
from dmtool.train.wandb_run import Wandb


class Tracker(Protocol):
    """Steps are pictures seen."""

    def start(self) -> None: ...

    def log(self, values: dict[str, float], step: int) -> None: ...

    def picture(self, path: Path, step: int) -> None:
        """Show a preview."""
        ...

    def alert(self, text: str, step: int) -> None:
        """Something that a human should look at now."""
        ...

    def finish(self) -> None: ...


def check_installed(config: Train) -> None:
    """UserError names what a config's trackers lack, before a run begins."""
    if "tensorboard" in config.track:
        require("tensorboard", "tensorboard")


def build(folder: Path, config: Train, stage: str, pictures: int, told: int) -> list[Tracker]:
    """The trackers that a config names, not yet started, for a run going on from `pictures`.

    `told` is up to where an earlier process of the run has logged.
    """
    found: list[Tracker] = []
    if "tensorboard" in config.track:
        found.append(TensorBoard(folder, pictures))
    if "wandb" in config.track:
        found.append(Wandb(folder, config, stage, told))
    return found


class TensorBoard(TensorBoardTracker):
    """Event files in `folder/tensorboard`; what is to be repeated is marked as void."""

    def __init__(self, folder: Path, pictures: int) -> None:
        super().__init__("tensorboard", folder, purge_step=pictures + 1)

    def picture(self, path: Path, step: int) -> None:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))[None]
        self.log_images({"preview": pixels}, step, dataformats="NHWC")
        self.writer.flush()

    def alert(self, text: str, step: int) -> None:
        self.log({"alert": text}, step)
