"""Where figures and previews go besides metrics.jsonl: accelerate's trackers, as runs need them.

A run that goes on after a kill repeats the pictures since its last checkpoint; no tracker shows a
point twice.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from accelerate.tracking import TensorBoardTracker, WandBTracker
from PIL import Image

from dmtool.config.training import Train
from dmtool.errors import UserError, require
from dmtool.files import reading
from dmtool.files.atomic import write_text
from dmtool.say import say


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


class Wandb(WandBTracker):
    """One run of Weights & Biases for a stage, however often it is resumed.

    Its history only grows: points that it has are left as they are. Offline, each process writes
    a piece of its own (`wandb sync --append` joins them) and we know by ourselves what was logged;
    `kill -9` can cost a piece its last second.
    """

    def __init__(self, folder: Path, config: Train, stage: str, told: int) -> None:
        self.config, self.told = config, told
        online = config.wandb.mode == "online"
        super().__init__(
            config.wandb.project,
            name=f"{config.run}/{stage}",
            group=config.run,
            dir=folder,
            mode=config.wandb.mode,
            id=_identity(folder / "wandb.id"),
            resume="allow" if online else None,
            settings={
                "init_timeout": config.wandb.timeout,
                "x_graphql_timeout_seconds": config.wandb.timeout,
                "finish_timeout": config.wandb.timeout,
                "finish_timeout_raises": True,
            },
        )

    def start(self) -> None:
        """UserError if wandb refuses, as without a key; offline if its server does not answer."""
        import wandb
        from wandb.errors import AuthenticationError, CommError

        try:
            super().start()
        except wandb.Error as error:
            if not isinstance(error, CommError) or isinstance(error, AuthenticationError):
                raise UserError(f"wandb: {error}; or log to files by wandb.mode=offline") from error
            wandb.teardown()  # what it has begun would stand in the way
            self.init_kwargs |= {"mode": "offline", "resume": None}
            super().start()
            reason = str(error).splitlines()[0]
            say(f"wandb's server does not answer ({reason}): {self._later()}")
        if not self.run.offline:
            self.told = self.run.starting_step - 1
        self.store_init_configuration(asdict(self.config))

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        if step is None or step > self.told:
            super().log(values, step, **kwargs)

    def picture(self, path: Path, step: int) -> None:
        with Image.open(path) as image:
            self.log_images({"preview": [image]}, step)

    def alert(self, text: str, step: int) -> None:
        self.run.alert(title="stall", text=text)

    def finish(self) -> None:
        """Wait until the server has all, at most `wandb.timeout` seconds."""
        try:
            super().finish()
        except TimeoutError:
            say(f"wandb's server has not taken all of the run: {self._later()}")

    def _later(self) -> str:
        place = os.path.relpath(self.run.settings.sync_dir)
        return f"it is kept on this machine; to upload it type: wandb sync --append {place}"


def _identity(path: Path) -> str:
    """The wandb run's id, kept in the run directory: another run of the same name has another."""
    if not path.exists():
        write_text(path, uuid.uuid4().hex)
    return reading.read_text(path)
