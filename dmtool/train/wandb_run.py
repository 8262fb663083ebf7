"""A run of Weights & Biases that cannot hold up a training: its server is given a bounded time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from dmtool.errors import UserError
from dmtool.schemas import Train

Mode = Literal["online", "offline"]


def start(folder: Path, config: Train, stage: str) -> Any:
    """The stage's run, or None if it is disabled.

    A server that does not answer within `wandb.timeout` seconds is said, and the run is kept
    offline. UserError if it refuses us, or if nobody is logged in.
    """
    if config.wandb.mode == "disabled":
        return None
    import wandb
    from wandb.errors import AuthenticationError, CommError, UsageError

    try:
        return _init(folder, config, stage, config.wandb.mode)
    except (AuthenticationError, UsageError) as error:
        raise UserError(
            f"wandb: {' '.join(str(error).split())}; type: wandb login, or set wandb.mode=offline"
        ) from error
    except CommError as error:
        wandb.teardown()  # what it has begun would stand in the way
        run = _init(folder, config, stage, "offline")
        reason = str(error).splitlines()[0]
        tqdm.write(f"{stage}: wandb's server does not answer ({reason}): {_later(run)}")
        return run


def finish(run: Any) -> None:
    """Wait until the server has all, at most `wandb.timeout` seconds."""
    try:
        run.finish()
    except TimeoutError:
        tqdm.write(f"wandb's server has not taken all of the run: {_later(run)}")


def _init(folder: Path, config: Train, stage: str, mode: Mode) -> Any:
    import wandb

    seconds = config.wandb.timeout
    settings = wandb.Settings(
        init_timeout=seconds,
        x_graphql_timeout_seconds=seconds,
        finish_timeout=seconds,
        finish_timeout_raises=True,
    )
    return wandb.init(
        project=config.wandb.project,
        name=f"{config.run}/{stage}",
        dir=folder,
        mode=mode,
        resume="allow",
        id=f"{folder.parent.name}-{stage}",
        settings=settings,
    )


def _later(run: Any) -> str:
    place = os.path.relpath(run.settings.sync_dir)
    return f"it is kept on this machine; to upload it type: wandb sync {place}"
