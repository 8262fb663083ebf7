"""What is computed once and kept: entries addressed by the content they were made from.

    KIND/ADDRESS/entry.json        the key in full, and what makes the entry complete:
                                   `files` with the sha256 of each, or the number of `shards`
                 00012-SHA.safetensors   shard 12, named by its content (see `dmtool.files.shards`)
                 verified.json  by file, its size and time when it was last known to be whole
    KIND/.ADDRESS.lock             byte 0 is held to make the entry, byte i + 1 to make shard i

Whoever comes first makes what is missing; the others wait for the lock. It is the system's: if its
holder dies it is free, and the next one goes on. So the processes of one run, and several runs,
share the work without knowing of each other, and no process group can time out over it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dmtool.errors import UserError
from dmtool.files import atomic, reading
from dmtool.files.digests import digest, file_digest
from dmtool.files.locks import locked
from dmtool.files.records import (
    RECORD,
    VERIFIED,
    Shard,
    Stamps,
    note,
    noted,
    record,
    remove,
    write,
    write_record,
)

SHA = 16
"""Hexadecimal digits of the sha256 in a shard's name."""

SHARD = re.compile(rf"(\d+)-[0-9a-f]{{{SHA}}}\.safetensors")

log = logging.getLogger(__name__)


def root() -> Path:
    """The cache's directory: `$DMTOOL_CACHE`, else `$XDG_CACHE_HOME/dmtool`."""
    if "DMTOOL_CACHE" in os.environ:
        return Path(os.environ["DMTOOL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dmtool"


def address(key: Mapping[str, Any]) -> str:
    """The name of the entry that is made from `key`: all that its content depends on."""
    return digest(key)[:24]


def directory(
    kind: str,
    key: Mapping[str, Any],
    build: Callable[[Path], None],
    check: Callable[[Path], object] = os.path.isdir,
) -> Path:
    """The entry of `key`, filled by `build(path)` if it is not complete, or damaged.

    It is complete once the digests of its files are recorded: what a killed or failed builder
    leaves is never used. `check(path)` raises reading.Unreadable for content that cannot be used.
    A file is read as a shard is, see `verified`.
    """
    entry = root() / kind / address(key)
    if not _whole(entry, check):
        with locked(entry):
            if not _whole(entry, check):
                _make(entry, key, build)
    with suppress(UserError):  # what can only be read is read again each time
        note(entry, filter(None, map(_there, _built(entry))))
    return entry


def _whole(entry: Path, check: Callable[[Path], object]) -> bool:
    digests = record(entry).get("files")
    if digests is None:
        return False
    bad = _damaged(entry, digests)
    try:
        check(entry)
    except reading.Unreadable as error:
        bad = bad or {str(error)}
    if bad:
        log.warning("%s is damaged (%s) and made anew", entry, ", ".join(sorted(bad)))
    return not bad


def sound(entry: Path) -> bool:
    """Whether an entry is complete and its files are as they were written."""
    digests = record(entry).get("files")
    return digests is not None and not _damaged(entry, digests)


def _damaged(entry: Path, digests: Mapping[str, str]) -> set[str]:
    """The files that are missing, or not as they were written, or nobody's."""
    known, there = noted(entry), {path.name for path in _built(entry)}
    changed = {name for name in digests if not _same(entry / name, digests[name], known)}
    return changed | (there ^ digests.keys())


def _same(path: Path, sha: str, known: Stamps) -> bool:
    """Whether a file has this digest, by its size and time if these are known."""
    now = _there(path)
    told = _told(now, known) if now else None
    if told is not None:
        return told
    try:
        return file_digest(path) == sha
    except reading.Unreadable:
        return False


def _told(now: Shard, known: Stamps) -> bool | None:
    """Whether a file is what it was when it was last read, as far as its size and time tell: None
    if it must be read. A file of another size need not be, however large it has become."""
    before = known.get(now.path.name)
    if before is None or (before != now.stamp and before[0] == now.size):
        return None
    return before == now.stamp


def sharded(kind: str, key: Mapping[str, Any], count: int) -> Path:
    """The entry of `key`, a place for `count` shards."""
    entry = root() / kind / address(key)
    if "shards" not in record(entry):
        with locked(entry):
            if not entry.is_dir():
                remove(entry)
                entry.mkdir()
            write_record(entry, {"key": dict(key), "shards": count})
    return entry


def shards(entry: Path) -> dict[int, Path]:
    """The shards of an entry that are there, by number."""
    found = ((SHARD.fullmatch(path.name), path) for path in sorted(entry.glob("*.safetensors")))
    return {int(match[1]): path for match, path in found if match}


def write_shard(entry: Path, number: int, content: bytes) -> Shard:
    """Put a shard in its place, whole or not at all. The caller holds its lock."""
    sha = hashlib.sha256(content).hexdigest()[:SHA]
    path = entry / f"{number:05d}-{sha}.safetensors"
    write(path, content)
    return Shard(path, len(content), path.stat().st_mtime_ns)


def intact(shard: Path) -> bool:
    """Whether the file has the content that its name states."""
    try:
        return file_digest(shard)[:SHA] == shard.stem.split("-")[1]
    except reading.Unreadable:  # or found damaged and removed by another process
        return False


def verified(entry: Path) -> dict[int, Shard]:
    """The shards of an entry that are intact, by number.

    A shard's content is read if it has not been since the file was last changed, as its size and
    time tell; `dmtool cache verify` reads it in any case. The caller holds no lock of the entry.
    """
    known = noted(entry)
    found = {i: _checked(path, known) for i, path in shards(entry).items()}
    intact = {i: shard for i, shard in found.items() if shard}
    with suppress(UserError):  # what can only be read is read again each time
        note(entry, intact.values())
    return intact


def there(entry: Path, number: int) -> Shard | None:
    """A shard if it is there and intact. One that is damaged is removed: the caller holds its
    lock."""
    path = shards(entry).get(number)
    shard = path and _checked(path, noted(entry))
    if path and not shard:
        log.warning("%s is damaged and made anew", path)
        remove(path)
    return shard or None


def _checked(path: Path, known: Stamps) -> Shard | None:
    """The shard in a file if it is intact."""
    shard = _there(path)
    told = _told(shard, known) if shard else False
    return shard if told or (told is None and intact(path)) else None


def _there(path: Path) -> Shard | None:
    try:
        status = path.stat()
    except (OSError, ValueError):  # removed by another process, a link to nowhere, no name at all
        return None
    return Shard(path, status.st_size, status.st_mtime_ns)


def _make(entry: Path, key: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    remove(entry)
    entry.mkdir()
    try:
        write_record(entry, {"key": dict(key)})
        build(entry)
        digests = {path.name: _synced(path) for path in _built(entry)}
        write_record(entry, {"key": dict(key), "files": digests})
    except BaseException:
        shutil.rmtree(entry, ignore_errors=True)
        raise


def _built(entry: Path) -> list[Path]:
    return [path for path in sorted(entry.iterdir()) if path.name not in (RECORD, VERIFIED)]


def _synced(path: Path) -> str:
    """The digest of a file that is then on the disk, not in its buffers alone."""
    atomic.sync(path)
    return file_digest(path)
