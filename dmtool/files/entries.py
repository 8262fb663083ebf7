"""What the cache holds: `dmtool cache ls`, `verify` and `rm`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dmtool.errors import CheckFailed, UserError
from dmtool.files import cache, records
from dmtool.files.digests import file_digest
from dmtool.files.locks import locked
from dmtool.say import columns, counted

ADDRESS = 12
"""Digits of an entry's address that are shown."""


@dataclass(frozen=True)
class Entry:
    """A directory of the cache, or a file that was downloaded to it."""

    path: Path

    @property
    def name(self) -> str:
        address = self.path.name if self.path.is_file() else self.path.name[:ADDRESS]
        return f"{self.path.parent.name}/{address}"

    @property
    def size(self) -> int:
        """Bytes."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(path.stat().st_size for path in files if path.is_file())

    @property
    def state(self) -> str:
        record = records.record(self.path)
        if "shards" in record:
            there, count = len(cache.shards(self.path)), record["shards"]
            return "complete" if there == count else f"{there} of {counted(count, 'shard')}"
        return "complete" if "files" in record or self.path.is_file() else "partial"

    @property
    def what(self) -> str:
        """The key in words."""
        if self.path.is_file():
            return "downloaded"
        key = records.record(self.path).get("key")
        return ", ".join(_words(key)) if key else "of an earlier version, or damaged: never used"

    def damaged(self) -> Iterator[Path]:
        """Its files that are not what was written."""
        record, path = records.record(self.path), self.path / records.RECORD
        if path.is_file() and cache.address(record.get("key", {})) != self.path.name:
            yield path
        for name, digest in record.get("files", {}).items():
            path = self.path / name
            if not path.is_file() or file_digest(path) != digest:
                yield path
        yield from (path for path in cache.shards(self.path).values() if not cache.intact(path))


def entries() -> list[Entry]:
    """All of the cache, by kind and age."""
    found = [path for path in cache.root().glob("*/*") if not path.name.startswith(".")]
    found.sort(key=lambda path: (path.parent.name, path.stat().st_mtime))
    return [Entry(path) for path in found]


def listing() -> str:
    """A line for each entry, and the sum."""
    every = entries()
    sizes = [entry.size for entry in every]
    table = [
        (entry.name, megabytes(size), entry.state, entry.what)
        for entry, size in zip(every, sizes, strict=True)
    ]
    return "\n".join(
        [*columns(table), f"{_entries(every)}, {megabytes(sum(sizes))}, in {cache.root()}"]
    )


def verify() -> str:
    """Read every file against its checksum; CheckFailed names the damaged ones."""
    every = entries()
    damaged = [path for entry in every for path in entry.damaged()]
    for entry in every:
        records.note(entry.path, [], doubted=damaged)
    if damaged:
        raise CheckFailed(
            f"damaged: {', '.join(map(str, damaged))}; shards are made anew when they are next "
            "used; other entries are when they have been removed: dmtool cache rm NAME"
        )
    return f"{_entries(every)}, {megabytes(sum(entry.size for entry in every))}: none damaged"


def remove(names: Sequence[str] | None) -> str:
    """Remove entries, each by its name, the beginning of it, or its kind; None: all.

    Raises UserError for a name that is not there, before anything is removed.
    """
    every = entries()
    wanted = every if names is None else [e for name in names for e in _chosen(name, every)]
    chosen = list(dict.fromkeys(wanted))
    size = sum(entry.size for entry in chosen)
    for entry in chosen:
        _remove(entry)
    return f"{_entries(chosen)} removed, {megabytes(size)}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _entries(some: Sequence[Entry]) -> str:
    return counted(len(some), "entry", "entries")


def _chosen(name: str, every: list[Entry]) -> list[Entry]:
    kind = [entry for entry in every if entry.path.parent.name == name]
    matches = [
        entry for entry in every if f"{entry.path.parent.name}/{entry.path.name}".startswith(name)
    ]
    if kind or len(matches) == 1:
        return kind or matches
    known = [entry.name for entry in every]
    if len(matches) > 1:
        raise UserError(
            f"{name!r} is not one entry of the cache but {len(matches)}: type more of it"
        )
    near = get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]}?" if near else "see: dmtool cache ls"
    raise UserError(f"the cache has no entry {name!r}; {hint}")


def _remove(entry: Entry) -> None:
    with locked(entry.path, length=0, wait=False) as free:
        if not free:
            raise UserError(f"{entry.name} is being made by another process: stop that first")
        shutil.rmtree(entry.path) if entry.path.is_dir() else entry.path.unlink()


def _words(key: Mapping[str, Any]) -> Iterator[str]:
    """`name value` for each leaf; digests by their beginning."""
    for name, value in key.items():
        if isinstance(value, Mapping):
            yield from (f"{name}.{word}" for word in _words(value))
        else:
            yield f"{name} {value[:ADDRESS] if _is_digest(value) else value}"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")
