"""An artifact's own defaults: the settings that its sampling starts from, in `defaults.json`.

The card is what an artifact is; this is how it is best used, found afterwards by `tune-sampler` or
`eval-sweep --keep`. The file holds values, each group's own, and they are checked as those of the
command line are: whoever sends a run sends no words for Hydra with it. Where the user says anything
of a group, the stored values of that group are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from dmtool import runs
from dmtool.config import usual, words
from dmtool.config.using import Defaults, Tuned, Whose
from dmtool.config.validation import check, resolved
from dmtool.errors import UserError
from dmtool.files import reading
from dmtool.files.atomic import write_json
from dmtool.runs import Artifact, old_defaults
from dmtool.say import say

GROUPS = tuple(field.name for field in fields(Defaults))

FORMAT = 2
"""Format 1, which had no number, held words for Hydra."""

MOST = 1 << 20
"""Bytes that are read of a file."""

T = TypeVar("T", bound=Tuned)


@dataclass(frozen=True)
class DefaultsFile:
    """What `defaults.json` holds: of which weights, the settings, and how they were found
    (protocol and figures, for JSON)."""

    sha256: str
    settings: Defaults
    found: dict[str, Any]


def file(artifact: Artifact) -> Path:
    """Where an artifact's defaults stand."""
    return artifact.path / "defaults.json"


def write(path: Path, artifact: Artifact, settings: Defaults, found: dict[str, Any]) -> None:
    """Write a file of defaults for the very weights of an artifact."""
    head = {"format": FORMAT, "sha256": artifact.card["sha256"]}
    write_json(path, head | asdict(settings) | {"found": found})


def read(artifact: Artifact) -> DefaultsFile | None:
    """The artifact's defaults; None if there are none, or only those of other weights.

    UserError if the file is damaged, or holds anything but settings.
    """
    if not file(artifact).is_file():
        return None
    stored = load(file(artifact))
    return stored if stored.sha256 == artifact.card["sha256"] else None


def load(path: Path) -> DefaultsFile:
    """The defaults in a file, of this format or the one before; UserError as of `read`."""
    given = _json(path)
    try:
        return DefaultsFile(str(given["sha256"]), _settings(given), dict(given["found"]))
    except UserError as error:
        how = "delete it, or tune again; tuned=false leaves it unread"
        raise UserError(f"{path} is no file of defaults: {error}; {how}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: delete it, or tune again") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        given = reading.read_json(path, limit=MOST)
    except reading.Unreadable as error:
        raise UserError(f"{error}: delete it, or tune again") from error
    return given if isinstance(given, dict) else {}


def _settings(given: Mapping[str, Any]) -> Defaults:
    groups = {k: v for k, v in given.items() if k not in ("format", "sha256", "found")}
    if "format" not in given:
        groups = old_defaults.settings(groups.pop("words")) | groups
    elif given["format"] != FORMAT:
        raise UserError(f"it has the format {given['format']}, this dmtool reads {FORMAT}")
    return check(dict.fromkeys(GROUPS) | _completed(groups), Defaults)


def _completed(groups: Mapping[str, Any]) -> dict[str, Any]:
    """Groups with what they lack, since there was no such option when they were stored, as `conf/`
    has it; what is no setting at all stays as it is, for the schema to refuse."""
    found = dict(groups)
    for name, value in groups.items():
        match value:
            case {
                "kind": str(kind),
                "grid": {"kind": str(grid)},
                "threshold": {"kind": str(threshold)},
            }:
                found[name] = usual.merged(usual.sampler(kind, grid, threshold), value)
            case {"kind": str(kind), "grid": {"kind": str(grid)}}:
                found[name] = usual.merged(usual.sampler(kind, grid), value)
            case {"sampler": dict()}:
                found[name] = _completed(value)
            case {} if name == "guidance":
                found[name] = usual.merged(usual.guidance(), value)
    return found


# --- what the user says goes first ----------------------------------------------------------------


def group(word: str) -> str:
    """The part of the config that a Hydra word sets: `sampler` of sampler/grid=karras and of
    sampler.steps=9, `upsample` of sampler@upsample.sampler=euler."""
    key = word.partition("=")[0].lstrip("+~").rpartition("@")[2]
    return re.split("[./]", key)[0]


def tuned(config: DictConfig, said: Sequence[str], schema: type[T]) -> T:
    """The checked config, with the artifact's defaults in those groups that none of the words that
    were `said` is of; they are printed."""
    values = resolved(config)
    settings = _of(values)
    named = {group(word) for word in said}
    kept = {name: None if name in named else getattr(settings, name) for name in GROUPS}
    settings = Defaults(**kept)
    _print(settings)
    over = {name: value for name, value in asdict(settings).items() if value is not None}
    if "upsample" in over:
        over["upsample"] = values["upsample"] | over["upsample"]
    return check(values | over, schema)


def _of(values: Mapping[str, Any]) -> Defaults:
    """The defaults that a config asks for; none where there is no such run, which is left to those
    who will say so."""
    nothing = Defaults(**dict.fromkeys(GROUPS))
    names = ("run", "root", "from", "artifact", "tuned")
    whose = check({name: values[name] for name in names}, Whose)
    if not whose.tuned:
        return nothing
    try:
        artifact = runs.generator(whose)
    except UserError:
        return nothing
    stored = read(artifact)
    return stored.settings if stored else nothing


def _print(settings: Defaults) -> None:
    line = " ".join(words.of_defaults(settings))
    if line and os.environ.get("RANK", "0") == "0":
        say(f"defaults of this artifact: {line} (without them: tuned=false)", error=True)
