"""From a stage's config to its training: the process group, the run directory, the parents."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator
from pydantic import TypeAdapter

from dmtool import processes, runs, saved
from dmtool.data.source import Source, report
from dmtool.device import pick_device
from dmtool.errors import UserError
from dmtool.network import for_use
from dmtool.processes import Group
from dmtool.say import say
from dmtool.schemas import DataBase, Train
from dmtool.train import parallel, trackers
from dmtool.train.loop import Trainer
from dmtool.train.stage import Stage

C = TypeVar("C", bound=Train)
MakeTrainer = Callable[[Stage, Train, Path, Accelerator, Group], Trainer]

FREE = {"limit", "every", "evaluate", "keep", "track", "wandb", "alert", "root", "run", "device",
        "preview", "sampler", "guidance", "accumulation", "parallel", "compute", "init", "held_out",
        "timeout"}  # fmt: skip
"""Settings that may differ when a run goes on: they change nothing in what is learned
(`compute` its rounding)."""


def train(
    name: str,
    config: C,
    build: Callable[[C, torch.device], Stage],
    trainer: MakeTrainer = Trainer,
) -> None:
    """Train a stage in `root/run/name`, from the beginning or from where it was left."""
    trackers.check_installed(config)
    parallel.refuse_other_engines()
    device = pick_device(config.device)
    with processes.started(device, config.timeout) as group:
        accelerator = _accelerator(device, group)
        _train(name, config, build, trainer, accelerator, group)
    accelerator.end_training()


def _train(
    name: str,
    config: C,
    build: Callable[[C, torch.device], Stage],
    trainer: MakeTrainer,
    accelerator: Accelerator,
    group: Group,
) -> None:
    folder = runs.run_dir(config.run, config.root) / name
    if group.main:
        for place in ("", "checkpoints", "artifacts", "snapshots"):
            runs.recover(folder / place)
    group.wait()
    complete = _complete(config)
    _check_unchanged(folder, complete)
    torch.manual_seed(config.seed)
    stage = build(config, accelerator.device)  # all processes fill the caches together
    _check_colours(folder, stage.source, config.data)
    if group.main:
        saved.write(folder, complete)
    if config.init:
        _start_from(stage, runs.find(config.init, name, config.root))
    if group.main:
        said = [*report(stage.source), stage.source.enlarged(stage.resolution)]
        say(*(f"{name}: {line}" for line in said if line))
    trainer(stage, config, folder, accelerator, group).run()


def _accelerator(device: torch.device, group: Group) -> Accelerator:
    if group.world == 1 and device.index is not None:
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")


def _complete(config: Train) -> dict[str, Any]:
    """The whole config as plain values."""
    values = TypeAdapter(type(config)).dump_python(config, by_alias=True, mode="json")
    return cast(dict[str, Any], values)


def _check_unchanged(folder: Path, new: dict[str, Any]) -> None:
    """Refuse to go on with a config that would change the run."""
    if (folder / saved.NAME).exists() and any((folder / "checkpoints").glob("[0-9]*")):
        old = saved.read(folder)
        old["data"]["profiles"] = new["data"]["profiles"]  # looked at when the pictures are there
        changed = [key for key in new if key not in FREE and old.get(key) != new[key]]
        if changed:
            values = "; ".join(
                f"{key}: {_short(old.get(key))} -> {_short(new[key])}" for key in changed
            )
            raise UserError(
                f"{folder} was begun with another config ({values}); take another run=, or delete "
                f"{folder} to begin anew"
            )


def _check_colours(folder: Path, source: Source, config: DataBase) -> None:
    """Refuse to go on with other colours, where pictures have profiles that make a difference."""
    if source.profiled and any((folder / "checkpoints").glob("[0-9]*")):
        then = saved.read(folder)["data"]["profiles"]
        if then != config.profiles:
            raise UserError(
                f"{folder} was begun with data.profiles={then}, and {source.profiled:,} pictures "
                f"have colour profiles: give data.profiles={then}, or take another run="
            )


def data_card(source: Source, config: DataBase) -> dict[str, Any]:
    """What a card says of the pictures that a stage was trained on, and of what became of them."""
    transform = {name: getattr(config, name) for name in ("profiles", "crop", "flip")}
    return {
        "fingerprint": source.fingerprint,
        "attribution": source.attribution,
        "transform": {**transform, "background": list(config.background)},
    }


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."


def _start_from(stage: Stage, artifact: runs.Artifact) -> None:
    """Begin with an artifact's weights; UserError if the networks differ.

    What serves the training alone begins anew.
    """
    own = stage.network.state_dict()
    fresh = {name: own[name] for name in own.keys() - for_use(own).keys()}
    try:
        stage.network.load_state_dict(artifact.tensors() | fresh)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"init: the network in {artifact.path} is another one: {reason}") from error
