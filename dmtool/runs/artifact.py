"""Run directories, artifacts and checkpoints: the only hand-over between stages.

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
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from dmtool.config.stages import STAGES
from dmtool.errors import UserError
from dmtool.files import atomic, reading
from dmtool.files.cache import digest, file_digest
from dmtool.runs import migrate
from dmtool.runs.card import Card

if TYPE_CHECKING:  # what only looks at a run need not wait for torch
    from torch import Tensor

FORMAT = migrate.CARD.now
"""Version of the card's format."""

SEAL = "card_sha256"
"""The digest of the rest of the card: of what was damaged nothing is used. Cards that are older
have none, and who changes one by hand takes it out."""

Fill = Callable[[Path], None]
"""Writes files into a directory."""

PARTIAL, OLD = ".partial", ".old"
"""What is not yet written or not yet deleted, and what is being replaced: `.NAME.partial`,
`.NAME.old`."""


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


def find(run: str, stage: str, root: str | Path = "runs", name: str = "default") -> Artifact:
    """The artifact of a run's stage, or a UserError that says what is missing and what to type."""
    folder = run_dir(run, root)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, and no run")
    if not folder.is_dir():
        raise UserError(f"there is no run {run!r}: {folder} does not exist{_others(Path(root))}")
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


def nothing(folder: Path) -> None:
    """Adds no further files to an artifact."""


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

    replace_directory(path, fill)
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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file."""
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; UserError if it is damaged or missing."""
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or missing: {error}") from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a safetensors file's tensors, of which nothing else is read."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or missing: {error}") from error


def replace_directory(path: Path, fill: Fill) -> None:
    """Make `path` what `fill(temporary)` writes, synced to the disk.

    On any failure the old one stays untouched. A kill at any moment leaves the old one or the new
    one, at the latest after `recover`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL))
    try:
        temporary.chmod(0o755)
        fill(temporary)
        for each in (*temporary.rglob("*"), temporary):
            atomic.sync(each)
        _settle(path)
        if path.exists():
            path.rename(_old(path))
        temporary.rename(path)
        atomic.sync(path.parent)
    finally:
        _settle(path)
        shutil.rmtree(temporary, ignore_errors=True)


def remove_directory(path: Path) -> None:
    """Delete a directory; after a kill it is there as a whole, or gone for `recover`."""
    shutil.rmtree(path.rename(path.with_name(f".{path.name}{PARTIAL}")))


def recover(folder: Path) -> None:
    """Put right what a killed process left in `folder`; nobody else may be writing there."""
    for old in folder.glob(f".*{OLD}"):
        _settle(folder / old.name[1 : -len(OLD)])
    for partial in folder.glob(f".*{PARTIAL}"):
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically, synced to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, text.encode(), f".{path.name}.{os.getpid()}{PARTIAL}")


def _seal(card: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in card.items() if key != SEAL})


def _in_role(artifact: Artifact, role: str) -> Artifact:
    if artifact.card["role"] != role:
        raise UserError(f"{artifact.path} is of the role {artifact.card['role']}, not {role}")
    return artifact


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}{OLD}")


def _settle(path: Path) -> None:
    """What was put aside for a new `path` is deleted if the new one is there, or else put back."""
    if _old(path).exists() and not path.exists():
        _old(path).rename(path)
    shutil.rmtree(_old(path), ignore_errors=True)


def _others(root: Path) -> str:
    names = sorted(path.name for path in root.glob("*") if path.is_dir()) if root.is_dir() else []
    return f" (runs here: {', '.join(names[:8])})" if names else ""
