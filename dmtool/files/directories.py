"""Directories that appear whole or not at all, and are on the disk when they do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from dmtool.files import atomic
from dmtool.files.atomic import PARTIAL

OLD = ".old"
"""Ends the name of what is being replaced: `.NAME.old`."""

Fill = Callable[[Path], None]
"""Writes files into a directory."""


def nothing(*_: object) -> None:
    """Writes no files into a directory; any act that is none."""


def replace(path: Path, fill: Fill) -> None:
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


def remove(path: Path) -> None:
    """Delete a directory; after a kill it is there as a whole, or gone for `recover`."""
    shutil.rmtree(path.rename(path.with_name(f".{path.name}{PARTIAL}")))


def recover(folder: Path) -> None:
    """Put right what a killed process left in `folder`; nobody else may be writing there."""
    for old in folder.glob(f".*{OLD}"):
        _settle(folder / old.name[1 : -len(OLD)])
    for partial in folder.glob(f".*{PARTIAL}"):
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}{OLD}")


def _settle(path: Path) -> None:
    """What was put aside for a new `path` is deleted if the new one is there, or else put back."""
    if _old(path).exists() and not path.exists():
        _old(path).rename(path)
    shutil.rmtree(_old(path), ignore_errors=True)
