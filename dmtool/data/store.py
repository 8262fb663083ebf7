"""What every source is made of: examples written once to Arrow in the cache, read memory-mapped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import pyarrow as pa
from datasets import Dataset, Features, Image, List, Value

from dmtool.config.parts import DataBase
from dmtool.data.headers import Headers
from dmtool.data.splits import Folders, Split
from dmtool.files import cache, reading, records

VERSION = 2
"""Part of every source's cache key: raise it when what is written changes."""

FEATURES = Features({"image": Image(), "caption": List(Value("string")), "key": Value("string")})
BATCH_ROWS, BATCH_BYTES = 1000, 64 * 2**20

ROWS, FACTS = "data.arrow", "source.json"
MOST_FACTS = 2**28
"""Bytes: each bad file of a large set is named."""


class Example(NamedTuple):
    """A captioned picture: a stable identity, any number of captions, a picture file's bytes."""

    key: str
    captions: list[str]
    picture: bytes


class BadFile(NamedTuple):
    """A file that cannot be trained on, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Source:
    """A set of captioned pictures.

    `dataset` has the columns `image`, `caption` (a list of strings, possibly empty) and `key`;
    `fingerprint` is the sha256 of all of its content, and of `folders` if these say the splits;
    `notes` are sentences that the user should read once (which captions were found, what was left
    aside). `earlier` are the sets that a run saw before this one took their place: {fingerprint,
    pictures_seen until then}. `sides` has the length of each picture's shorter side in pixels, with
    the number of pictures of that length; `profiled` is the number of pictures whose colour profile
    is not sRGB.
    """

    dataset: Dataset
    bad: tuple[BadFile, ...]
    attribution: str
    fingerprint: str
    notes: tuple[str, ...] = ()
    folders: Folders = field(default_factory=dict)
    earlier: tuple[dict[str, Any], ...] = ()
    sides: Mapping[int, int] = field(default_factory=dict)
    profiled: int = 0

    @property
    def keys(self) -> list[str]:
        """The pictures' keys, in their order."""
        column = self.dataset.select_columns("key").with_format("arrow")[:]["key"]
        keys: list[str] = column.to_pylist()
        return keys

    def colours(self, config: DataBase) -> dict[str, str]:
        """What profiles do to the pictures, if anything: part of the address of what is made of
        them."""
        converted = self.profiled and config.profiles == "convert"
        return {"profiles": "convert"} if converted else {}

    def enlarged(self, resolution: int) -> str:
        """What is to be said of pictures that are smaller; nothing if there are none."""
        count = sum(many for side, many in self.sides.items() if side < resolution)
        return (
            f"{count:,} of {len(self.dataset):,} pictures are smaller than {resolution} pixels and "
            "are enlarged to that, which makes them blurred"
        ) * bool(count)


@dataclass(frozen=True)
class Facts:
    """What the cache keeps beside the rows; entries of sources that had no folders lack them."""

    bad: list[tuple[str, str]]
    notes: list[str]
    attribution: str
    fingerprint: str
    sides: dict[int, int]
    profiled: int
    folders: dict[str, Split] = field(default_factory=dict)


@dataclass
class Findings:
    """What a builder has to say beside its examples; filled while they are drawn from it."""

    folders: Folders
    bad: list[BadFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    attribution: str = ""


def stored(
    key: Mapping[str, Any],
    build: Callable[[Findings], Iterable[Example]],
    folders: Folders = MappingProxyType({}),
) -> Source:
    """The source that `build` yields, from the cache if it is there under `key`.

    `folders` hold its splits, by their paths, if it is not for a hash of the keys to say.
    """

    def write(path: Path) -> None:
        _write(path, build, Findings(dict(folders)))

    key = {"version": VERSION, **key}
    return _opened(cache.directory("data", key, write, check=_facts))


def known(fingerprint: str) -> Source | None:
    """The source of that content if the cache holds it, wherever it was read from."""
    for entry in sorted((cache.root() / "data").glob("[!.]*")):
        if _holds(entry, fingerprint) and cache.sound(entry):
            return _opened(entry)
    return None


def _holds(entry: Path, fingerprint: str) -> bool:
    """Whether an entry, which may be damaged, is of today and says that it has this content."""
    key = records.record(entry).get("key")
    try:
        said = _facts(entry).fingerprint
    except reading.Unreadable:
        return False
    return said == fingerprint and isinstance(key, dict) and key.get("version") == VERSION


def digests(source: Source) -> Iterator[tuple[str, bytes]]:
    """The key of each example, and a digest of all of it."""
    for batch in source.dataset.with_format("arrow").iter(BATCH_ROWS):
        for row in batch.to_pylist():
            yield row["key"], _digest(Example(row["key"], row["caption"], row["image"]["bytes"]))


def _opened(path: Path) -> Source:
    facts = _facts(path)
    return Source(
        dataset=Dataset.from_file(str(path / ROWS)),
        bad=tuple(BadFile(*item) for item in facts.bad),
        attribution=facts.attribution,
        fingerprint=facts.fingerprint,
        notes=tuple(facts.notes),
        folders=facts.folders,
        sides=facts.sides,
        profiled=facts.profiled,
    )


def _facts(path: Path) -> Facts:
    return cast(Facts, reading.read_json(path / FACTS, Facts, MOST_FACTS))


def _write(path: Path, build: Callable[[Findings], Iterable[Example]], findings: Findings) -> None:
    headers = Headers()
    schema, content = FEATURES.arrow_schema, hashlib.sha256()
    with pa.OSFile(str(path / ROWS), "wb") as file, pa.ipc.new_stream(file, schema) as out:
        for batch in _batches(build(findings)):
            for example in batch:
                content.update(_digest(example))
                headers.add(example.key, example.picture)
            out.write_batch(_record_batch(batch, schema))
    if findings.folders:
        content.update(json.dumps(findings.folders, sort_keys=True).encode())
    findings.notes += headers.notes()
    seen = {"sides": headers.sides, "profiled": headers.profiled}
    facts = {**asdict(findings), "fingerprint": content.hexdigest(), **seen}
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    (path / FACTS).write_bytes(text.encode(errors="backslashreplace"))  # names of files are bytes


def _digest(example: Example) -> bytes:
    words = json.dumps([example.key, example.captions]).encode()
    return hashlib.sha256(words).digest() + hashlib.sha256(example.picture).digest()


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """Groups that are small enough to be held in memory and in an Arrow array."""
    batch: list[Example] = []
    size = 0
    for example in examples:
        if batch and (len(batch) == BATCH_ROWS or size + len(example.picture) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(example)
        size += len(example.picture)
    if batch:
        yield batch


def _record_batch(batch: list[Example], schema: pa.Schema) -> pa.RecordBatch:
    columns = {
        "image": [{"bytes": example.picture, "path": None} for example in batch],
        "caption": [example.captions for example in batch],
        "key": [example.key for example in batch],
    }
    return pa.RecordBatch.from_pydict(columns, schema=schema)
