"""The config that a stage of a run was begun with, whatever version wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dmtool.errors import UserError
from dmtool.files import reading
from dmtool.files.atomic import write_text
from dmtool.runs import migrate

NAME = "config.yaml"


def read(folder: Path) -> dict[str, Any]:
    """The values that a stage's `config.yaml` stands for today.

    UserError if it is missing, damaged, or of a format that this version does not read.
    """
    path = folder / NAME
    try:
        found = reading.read_yaml(path)
    except reading.Missing as error:
        raise UserError(f"{path} is missing: it says how the run was trained") from error
    values = migrate.CONFIG.read(found, path)
    del values["format"]
    return values


def write(folder: Path, values: dict[str, Any]) -> None:
    """Write a stage's `config.yaml`, complete."""
    numbered = {"format": migrate.CONFIG.now, **values}
    write_text(folder / NAME, OmegaConf.to_yaml(OmegaConf.create(numbered)))
