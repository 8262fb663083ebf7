"""A run of Weights & Biases that cannot hold up a training: its server is given a bounded time."""

from __future__ import annotations

import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate.tracking import WandBTracker
from PIL import Image
from tqdm import tqdm

from dmtool import runs
from dmtool.errors import UserError
from dmtool.schemas import Train


class Wandb(WandBTracker):
    """One run of Weights & Biases for a stage, however often it is resumed.

    Its history only grows: points that it has are left as they are. Offline, each process writes
    a piece of its own (`wandb sync --append` joins them) and we know by ourselves what was logged;
    `kill -9` can cost a piece its last second.
    """

    def __init__(self, folder: Path, config: Train, stage: str, told: int) -> None:
        import wandb

        self.config, self.stage, self.told = config, stage, told
        seconds = config.wandb.timeout
        online = config.wandb.mode == "online"
        super().__init__(
            config.wandb.project,
            name=f"{config.run}/{stage}",
            group=config.run,
            dir=folder,
            mode=config.wandb.mode,
            id=_identity(folder / "wandb.id"),
            resume="allow" if online else None,
            settings=wandb.Settings(
                init_timeout=seconds,
                x_graphql_timeout_seconds=seconds,
                finish_timeout=seconds,
                finish_timeout_raises=True,
            ),
        )

    def start(self) -> None:
        """Begin, or go on; offline if the server does not answer within `wandb.timeout` seconds.

        UserError if wandb refuses, as without a key.
        """
        import wandb
        from wandb.errors import AuthenticationError, CommError, UsageError

        try:
            super().start()
        except (AuthenticationError, UsageError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"wandb: {reason}; type: wandb login, or log to files by wandb.mode=offline"
            ) from error
        except CommError as error:
            wandb.teardown()  # what it has begun would stand in the way
            self.init_kwargs |= {"mode": "offline", "resume": None}
            super().start()
            reason = str(error).splitlines()[0]
            tqdm.write(f"{self.stage}: wandb's server does not answer ({reason}): {self._later()}")
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
            tqdm.write(f"wandb's server has not taken all of the run: {self._later()}")

    def _later(self) -> str:
        place = os.path.relpath(self.run.settings.sync_dir)
        return f"it is kept on this machine; to upload it type: wandb sync {place}"


def _identity(path: Path) -> str:
    """The wandb run's id, kept in the run directory: another run of the same name has another."""
    if not path.exists():
        runs.write_text(path, uuid.uuid4().hex)
    return path.read_text()
