"""Run directories and their artifacts: the only hand-over between stages.

    runs/NAME/STAGE/  config.yaml  metrics.jsonl  previews/
                      checkpoints/PICTURES/   to resume: everything
                      artifacts/NAME/         to use: model.safetensors + card.json; `default` is
                                              the last one saved, `best` that of the best figure
                      snapshots/PICTURES/     of averages: what other lengths are made from

Directories appear whole or not at all. Only safetensors and JSON are read: loading somebody
else's run cannot run code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dmtool.config.stages import STAGES, TrainUnet
from dmtool.errors import UserError
from dmtool.files import directories, reading
from dmtool.files.digests import digest, file_digest
from dmtool.files.directories import Fill, nothing
from dmtool.files.tensors import read_shapes, read_tensors, write_tensors
from dmtool.runs import migrate
from dmtool.runs.card import Card

if TYPE_CHECKING:  # what only looks at a run need not wait for torch
    from torch import Tensor

FORMAT = migrate.CARD.now
"""Version of the card's format."""

SEAL = "card_sha256"
"""The digest of the rest of the card: of what was damaged nothing is used. Cards that are older
have none, and who changes one by hand takes it out."""


class GeneratorFrom(Protocol):
    @property
    def unet(self) -> str | None: ...


class Generates(Protocol):
    """A config that names a generator."""

    @property
    def run(self) -> str: ...

    @property
    def root(self) -> str: ...

    @property
    def artifact(self) -> str: ...

    @property
    def from_(self) -> GeneratorFrom: ...


@dataclass(frozen=True)
class Artifact:
    """A trained network to use: its directory and its card."""

    path: Path
    card: dict[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """The averaged weights, on the CPU; UserError if the file is damaged or missing."""
        file = self._weights()
        if file_digest(file) != self.card["sha256"]:
            raise UserError(f"{file} is damaged: its sha256 is not the one in card.json")
        return read_tensors(file)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of the weights, from the file's header alone; UserError if it is damaged."""
        return read_shapes(self._weights())

    def _weights(self) -> Path:
        file = self.path / "model.safetensors"
        if not file.is_file():
            raise UserError(f"{file} is missing: copy the whole directory, or train again")
        return file

    def reference(self, relative_to: Path) -> dict[str, str]:
        """How a child's card names this parent: place (relative), role, sha256."""
        place = os.path.relpath(self.path.resolve(), relative_to.resolve())
        return {"path": place, "role": self.card["role"], "sha256": self.card["sha256"]}


def run_dir(run: str, root: str | Path = "runs") -> Path:
    """The directory of a run given by name, or by path if it holds a slash or stands there."""
    path = Path(run)
    if "/" in run or any((path / stage).is_dir() for stage in STAGES):
        return path
    return Path(root) / run


def existing(run: str, root: str | Path = "runs") -> Path:
    """The directory of a run that is there; UserError if it is not."""
    folder = run_dir(run, root)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, and no run")
    if not folder.is_dir():
        raise UserError(f"there is no run {run!r}: {folder} does not exist{_others(Path(root))}")
    return folder


def generator(config: Generates) -> Artifact:
    """What paints for a config: its run's generator, or that of `from.unet`; UserError as of
    `find`."""
    run = config.from_.unet or config.run
    return find(run, TrainUnet.stage, config.root, config.artifact)


def find(run: str, stage: str, root: str | Path = "runs", name: str = "default") -> Artifact:
    """The artifact of a run's stage, or a UserError that says what is missing and what to type."""
    folder = existing(run, root)
    path = folder / stage / "artifacts" / name
    if path.is_dir():
        return _in_role(load(path), STAGES[stage].role)
    if name != "default" and path.parent.is_dir():
        names = sorted(other.name for other in path.parent.glob("[!.]*"))
        raise UserError(f"{folder / stage} has no artifact {name!r}; there are: {', '.join(names)}")
    if (folder / stage).is_dir():
        raise UserError(
            f"{folder / stage} has no artifact {name!r}: its training has not saved one yet; "
            f"type: dmtool train-{stage} run={run}"
        )
    raise UserError(f"the run {run!r} has no {stage} stage; type: dmtool train-{stage} run={run}")


def load(path: Path) -> Artifact:
    """The artifact in a directory; UserError if it is not one that this version reads, or its card
    is damaged, was changed since it was written, or contradicts itself."""
    file = path / "card.json"
    try:
        card = reading.read_json(file)
    except reading.Missing as error:
        raise UserError(f"{path} is not an artifact: it has no card.json") from error
    card = card if isinstance(card, dict) else {}
    if SEAL in card and _seal(card) != card[SEAL]:
        raise UserError(f"{file} is damaged: it is not what was written (its {SEAL} differs)")
    today = migrate.CARD.read(card, path)
    reading.checked(today, Card, file)
    return Artifact(path, today)


def save(
    path: Path, tensors: dict[str, Tensor], card: Mapping[str, Any], more: Fill = nothing
) -> Artifact:
    """Write an artifact atomically, in place of one that was there; `more` adds further files."""

    def fill(folder: Path) -> None:
        write_tensors(folder / "model.safetensors", tensors)
        whole = {"format": FORMAT, **card, "sha256": file_digest(folder / "model.safetensors")}
        sealed = whole | {SEAL: _seal(whole)}
        (folder / "card.json").write_text(json.dumps(sealed, indent=1) + "\n")
        more(folder)

    directories.replace(path, fill)
    return load(path)


def parent(artifact: Artifact, name: str) -> Artifact:
    """The artifact that this one was trained on, found by the card's relative path."""
    reference = artifact.card["parents"][name]
    path = artifact.path / reference["path"]
    if not path.is_dir():
        raise UserError(
            f"{artifact.path} was trained on the {name} artifact in {path.resolve()}, "
            "which is gone: put it back, or train again"
        )
    return _in_role(load(path), reference["role"])


def _seal(card: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in card.items() if key != SEAL})


def _in_role(artifact: Artifact, role: str) -> Artifact:
    if artifact.card["role"] != role:
        raise UserError(f"{artifact.path} is of the role {artifact.card['role']}, not {role}")
    return artifact


def _others(root: Path) -> str:
    names = sorted(path.name for path in root.glob("*") if path.is_dir()) if root.is_dir() else []
    return f" (runs here: {', '.join(names[:8])})" if names else ""
