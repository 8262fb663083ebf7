"""What is computed once and kept: entries addressed by the content they were made from.

    KIND/ADDRESS/entry.json        the key in full, and what makes the entry complete:
                                   `files` with the sha256 of each, or the number of `shards`
                 00012-SHA.safetensors   shard 12, named by its content (see `dmtool.shards`)
    KIND/.ADDRESS.lock             byte 0 is held to make the entry, byte i + 1 to make shard i

Whoever comes first makes what is missing; the others wait for the lock. It is the system's: if its
holder dies it is free, and the next one goes on. So the processes of one run, and several runs,
share the work without knowing of each other, and no process group can time out over it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from dmtool import files
from dmtool.errors import DISK_FULL, UserError

RECORD = "entry.json"
SHA = 16
"""Hexadecimal digits of the sha256 in a shard's name."""


def root() -> Path:
    """The cache's directory: `$DMTOOL_CACHE`, else `$XDG_CACHE_HOME/dmtool`."""
    if "DMTOOL_CACHE" in os.environ:
        return Path(os.environ["DMTOOL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dmtool"


def digest(value: Any) -> str:
    """The sha256 (hex) of a value that JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def address(key: Mapping[str, Any]) -> str:
    """The name of the entry that is made from `key`: all that its content depends on."""
    return digest(key)[:24]


def directory(kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The entry of `key`, filled by `build(path)` if it is not complete.

    It is complete once the digests of its files are recorded: what a killed or failed builder
    leaves is never used.
    """
    entry = root() / kind / address(key)
    if "files" not in record(entry):
        with locked(entry):
            if "files" not in record(entry):
                _make(entry, key, build)
    return entry


def sharded(kind: str, key: Mapping[str, Any], count: int) -> Path:
    """The entry of `key`, a place for `count` shards."""
    entry = root() / kind / address(key)
    if "shards" not in record(entry):
        with locked(entry):
            entry.mkdir(exist_ok=True)
            _write(entry / RECORD, _json({"key": dict(key), "shards": count}))
    return entry


def shards(entry: Path) -> dict[int, Path]:
    """The shards of an entry that are there, by number."""
    return {int(path.name.split("-")[0]): path for path in entry.glob("[0-9]*-*.safetensors")}


def write_shard(entry: Path, number: int, content: bytes) -> Path:
    """Put a shard in its place, whole or not at all. The caller holds its lock."""
    sha = hashlib.sha256(content).hexdigest()[:SHA]
    path = entry / f"{number:05d}-{sha}.safetensors"
    _write(path, content)
    return path


def intact(shard: Path) -> bool:
    """Whether the file has the content that its name states."""
    try:
        return file_digest(shard)[:SHA] == shard.stem.split("-")[1]
    except FileNotFoundError:  # found damaged and removed by another process
        return False


def record(entry: Path) -> dict[str, Any]:
    """What `entry.json` holds; nothing if it is not there or not readable."""
    try:
        found = json.loads((entry / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def locked(entry: Path, first: int = 0, length: int = 1, wait: bool = True) -> Iterator[bool]:
    """Hold bytes of the entry's lock (`length` 0: all); False if they are taken and not waited for.

    A process holds one lock of an entry at a time. The file stays, empty: were it removed, one
    process could wait for the old file while another holds the new one. Raises UserError where
    nothing can be written, and on a file system without locks.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        file = open(entry.with_name(f".{entry.name}.lock"), "ab")  # noqa: SIM115
        mine = _lock(file, first, length, wait)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise UserError(
            f"the cache {root()} cannot be written to or locked ({error.strerror}): set "
            "DMTOOL_CACHE to another directory"
        ) from error
    with file:  # closing it frees the lock
        yield mine


def _lock(file: BinaryIO, first: int, length: int, wait: bool) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), length, first)
    except BlockingIOError:
        return False
    return True


def _make(entry: Path, key: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    shutil.rmtree(entry, ignore_errors=True)
    entry.mkdir()
    try:
        _write(entry / RECORD, _json({"key": dict(key)}))
        build(entry)
        built = [path for path in sorted(entry.rglob("*")) if path.is_file()]
        digests = {str(path.relative_to(entry)): _synced(path) for path in built}
        del digests[RECORD]
        _write(entry / RECORD, _json({"key": dict(key), "files": digests}))
    except BaseException:
        shutil.rmtree(entry, ignore_errors=True)
        raise


def _synced(path: Path) -> str:
    """The digest of a file that is then on the disk, not in its buffers alone."""
    files.sync(path)
    return file_digest(path)


def _write(path: Path, content: bytes) -> None:
    """The caller's lock makes the temporary name its own.

    With the machine's name in it, for machines that share a disk but not its locks.
    """
    files.write(path, content, f".{path.name}-{platform.node()}")


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
