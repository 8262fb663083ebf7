"""From a stage's config to its training: the process group, the run directory, the parents."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator

from dmtool import processes, runs
from dmtool.config.parts import DataBase
from dmtool.config.training import Train
from dmtool.config.validation import adapter
from dmtool.data import source
from dmtool.data.source import Source, held_out
from dmtool.device import pick_device
from dmtool.diffusion.network import for_use
from dmtool.errors import UserError
from dmtool.files import directories
from dmtool.processes import Group
from dmtool.runs import Artifact, saved
from dmtool.say import say
from dmtool.train import begun, lock, parallel, trackers
from dmtool.train.loop import Trainer
from dmtool.train.stage import Stage

C = TypeVar("C", bound=Train)
MakeTrainer = Callable[[Stage, Train, Path, Accelerator, Group], Trainer]


def train(
    config: C,
    build: Callable[[C, torch.device, Source], Stage],
    parent: Callable[[C], Artifact | None],
    trainer: MakeTrainer,
) -> None:
    """Train a stage in `root/run/stage`, from the beginning or from where it was left.

    `parent` finds the artifact that it is trained on, if it is.
    """
    name = config.stage
    trackers.check_installed(config)
    parallel.refuse_other_engines()
    device = pick_device(config.device)
    with processes.started(device, config.timeout) as group:
        accelerator = _accelerator(device, group)
        folder = runs.run_dir(config.run, config.root) / name
        with _alone(folder, group):
            stage = _built(folder, config, build, parent(config), accelerator.device)
            if group.main:
                saved.write(folder, _complete(config))
            if config.init:
                _start_from(stage, runs.find(config.init, name, config.root))
            if group.main:
                say(*(f"{name}: {line}" for line in _report(stage, config)))
            trainer(stage, config, folder, accelerator, group).run()
    accelerator.end_training()


@contextmanager
def _alone(folder: Path, group: Group) -> Iterator[None]:
    """Within it no other command trains in the directory, where all has been put right."""
    with lock.held(folder) if group.main else nullcontext():
        if group.main:
            for place in ("", "checkpoints", "artifacts", "snapshots"):
                directories.recover(folder / place)
        group.wait()
        yield


def _built(
    folder: Path,
    config: C,
    build: Callable[[C, torch.device, Source], Stage],
    parent: Artifact | None,
    device: torch.device,
) -> Stage:
    """The stage, as it was if it goes on; all processes fill the caches together."""
    before = begun.find(folder)
    if before:
        before.check_settings(_complete(config))
        if parent:
            before.check_parent(parent)
    loaded = source.load(config.data)
    if before:
        loaded = before.check_pictures(loaded, config.other_pictures == "accept")
    torch.manual_seed(config.seed)
    stage = build(config, device, loaded)
    if before:
        before.check_colours(stage.source, config.data)
        before.check_text(stage.text)
    return stage


def _accelerator(device: torch.device, group: Group) -> Accelerator:
    if group.world == 1 and device.index is not None:
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")


def _complete(config: Train) -> dict[str, Any]:
    """The whole config as plain values."""
    values = adapter(type(config)).dump_python(config, by_alias=True, mode="json")
    return cast(dict[str, Any], values)


def data_card(source: Source, config: DataBase, val_pictures: int) -> dict[str, Any]:
    """What a card says of the pictures that a stage was trained on, of what became of them, and of
    those of its figures."""
    transform = {name: getattr(config, name) for name in ("profiles", "crop", "flip")}
    return {
        "fingerprint": source.fingerprint,
        "pictures": len(source.dataset),
        "attribution": source.attribution,
        "earlier": list(source.earlier),
        "validated_on": held_out(val_pictures),
        "transform": {**transform, "background": list(config.background)},
    }


def _report(stage: Stage, config: Train) -> list[str]:
    """What a user should know before training."""
    lines = [*source.report(stage.source), *filter(None, [stage.source.enlarged(stage.resolution)])]
    validated = config.every.validate is not None and held_out(stage.val_pictures) == "train"
    figures = [*config.figures] if validated else []
    figures += config.evaluated if held_out(stage.val_pictures, 2) == "train" else []
    if figures:
        lines.append(
            f"{', '.join(figures)} will be of training pictures, and tell nothing of others: the "
            f"val split has {stage.val_pictures} pictures; raise data.val ({config.data.val}), or "
            "add pictures"
        )
    return lines


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
