"""What an entry of the cache says of itself, and which of its files are known to be whole."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from dmtool.files import atomic, reading
from dmtool.files.locks import locked

RECORD, VERIFIED = "entry.json", "verified.json"
MOST = 2**28
"""Bytes of either: a large entry has a hundred thousand shards."""


class Record(TypedDict, total=False):
    """What an entry's record may say."""

    key: dict[str, Any]
    files: dict[str, str]
    shards: int


Stamps = dict[str, Annotated[list[int], Field(min_length=2, max_length=2)]]
"""Of files by name: `Shard.stamp`."""


class Shard(NamedTuple):
    """The file of an intact shard, or another intact file of an entry, its size in bytes and the
    time (ns) of its last change."""

    path: Path
    size: int
    changed: int

    @property
    def stamp(self) -> list[int]:
        return [self.size, self.changed]


def record(entry: Path) -> dict[str, Any]:
    """What `entry.json` holds; nothing if it is not there or not readable."""
    return _object(entry / RECORD, Record)


def write_record(entry: Path, values: Mapping[str, Any]) -> None:
    """Write what `record` reads. The caller holds the entry's lock."""
    write(entry / RECORD, _json(values))


def note(entry: Path, whole: Iterable[Shard], doubted: Iterable[Path] = ()) -> None:
    """Keep in mind which shards are intact as they are, and of which that is no longer known.

    The caller holds no lock of the entry.
    """
    stamps = {shard.path.name: shard.stamp for shard in whole}
    names, known = {path.name for path in doubted}, noted(entry)
    if any(known.get(name) != at for name, at in stamps.items()) or names & known.keys():
        with locked(entry):
            kept = {name: at for name, at in noted(entry).items() if name not in names}
            write(entry / VERIFIED, _json({**kept, **stamps}))


def noted(entry: Path) -> Stamps:
    """What `verified.json` holds: without it all is read again."""
    return _object(entry / VERIFIED, Stamps)


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all: the caller's lock makes the temporary name its own.

    The machine's name is in it, for machines that share a disk but not its locks.
    """
    if path.is_dir():  # no file of ours
        remove(path)
    atomic.write(path, content, f".{path.name}-{platform.node()}")


def remove(path: Path) -> None:
    """Delete a file or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _object(path: Path, schema: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = reading.read_json(path, limit=MOST)
        reading.checked(found, schema, path)
    except reading.Unreadable:
        return {}
    return found


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(value), indent=1) + "\n").encode()
