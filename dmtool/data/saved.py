"""The config that a stage of a run was begun with, whatever version wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from dmtool import usual
from dmtool.config import container


def read(path: Path) -> dict[str, Any]:
    """The values of a `config.yaml`.

    What its data section lacks, since that kind of source had no such option then, is as conf/ has
    it: a new option's default leaves the pictures as they were. Who takes them from there compares
    their fingerprint with the card's.
    """
    values = container(cast(DictConfig, OmegaConf.load(path)))
    return values | {"data": _of_now(values["data"]["kind"]) | values["data"]}


def _of_now(kind: str) -> dict[str, Any]:
    """`kind` is the file's own word: it may only be one of those that there are."""
    return usual.chosen("inspect", "data", kind)
