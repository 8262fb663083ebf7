"""Where a folder's captions stand: metadata files, sidecar files, the names of class folders."""

from __future__ import annotations

import csv
import json
import posixpath
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dmtool.errors import UserError

METADATA = ("metadata.jsonl", "metadata.csv")
COLUMNS = ("text", "caption")
NOT_UTF8 = "its caption is not UTF-8"


@dataclass
class Captions:
    """Captions by picture, files that cannot be used by name, and what the user should know."""

    of: dict[str, list[str]] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, texts: list[str]) -> None:
        """Add to the captions of `name`; blank ones are none, and those not UTF-8 make it bad."""
        if any(_is_broken(text) for text in texts):
            self.bad[name] = NOT_UTF8
        cleaned = (" ".join(text.split()) for text in texts)
        self.of.setdefault(name, []).extend(text for text in cleaned if text)


class Row(NamedTuple):
    """A line of a metadata file: where it stands and its values by column."""

    place: str
    values: Mapping[str, Any]


def read(root: Path, pictures: Collection[str], others: Set[str]) -> Captions:
    """The captions of `pictures` (paths relative to `root`), by the first convention that is met.

    1. `metadata.jsonl` or `metadata.csv`, in the folder or in sub-folders: `file_name` and `text`
       (or `caption` if there is no `text`); a list in JSON, or several rows, are several captions.
    2. A `.txt` file beside a picture, of the same stem: each line that is not blank is a caption.
    3. Pictures in two or more sub-folders and none outside: the name of the folder they stand in.
    4. None: the pictures have no captions.

    Raises UserError for a metadata file that cannot be read, with the line's number.
    """
    metadata = sorted(name for name in others if PurePosixPath(name).name in METADATA)
    if metadata:
        return _from_metadata(root, metadata, set(pictures))
    sidecars = {name: str(PurePosixPath(name).with_suffix(".txt")) for name in pictures}
    sidecars = {name: sidecar for name, sidecar in sidecars.items() if sidecar in others}
    if sidecars:
        return _from_sidecars(root, sidecars)
    return _from_folders(pictures)


def _from_metadata(root: Path, files: list[str], pictures: set[str]) -> Captions:
    captions, columns = Captions(), Counter[str]()
    folders = [posixpath.dirname(name) for name in files]
    for name, folder in zip(files, folders, strict=True):
        if folders.count(folder) > 1:
            raise UserError(f"both {' and '.join(METADATA)} stand in {root / folder}: keep one")
        for row in _rows(root / name):
            columns.update(row.values.keys())
            picture = posixpath.normpath(posixpath.join(folder, _file_name(row)))
            captions.add(picture, _texts(row))
            if picture not in pictures:
                captions.bad[picture] = f"no such picture (named in {row.place})"
    used = [name for name in COLUMNS if name in columns]
    if not used:
        raise UserError(f"{', '.join(files)}: no column 'text' or 'caption' ({_named(columns)})")
    captions.notes.append(f"captions from {', '.join(files)}, column {used[0]!r}")
    return captions


def _rows(path: Path) -> Iterator[Row]:
    # what is not UTF-8 passes as surrogates, so that the row's other columns still name the file
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = _json_rows if path.suffix == ".jsonl" else _csv_rows
        yield from rows(file, path.name)


def _json_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{place}: this is not JSON ({error.msg})") from error
        if not isinstance(values, dict):
            raise UserError(f'{place}: expected {{"file_name": ..., "text": ...}}')
        yield Row(place, values)


def _csv_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    reader = csv.DictReader(lines, restkey="", strict=True)
    try:
        for values in reader:
            yield Row(f"{name}, line {reader.line_num}", values)
    except csv.Error as error:
        raise UserError(
            f"{name}, line {reader.reader.line_num}: this is not CSV ({error})"
        ) from error


def _file_name(row: Row) -> str:
    name = row.values.get("file_name")
    if not isinstance(name, str) or not name:
        raise UserError(f"{row.place}: no 'file_name' ({_named(row.values)})")
    return name


def _texts(row: Row) -> list[str]:
    column = next((name for name in COLUMNS if name in row.values), COLUMNS[0])
    value = row.values.get(column)
    texts = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"{row.place}: {column!r} is neither a text nor a list of texts: {value!r}")
    return texts


def _named(columns: Iterable[str]) -> str:
    return "found " + (", ".join(map(repr, columns)) or "nothing")


def _from_sidecars(root: Path, sidecars: Mapping[str, str]) -> Captions:
    captions = Captions(notes=[f"captions from .txt files beside {len(sidecars)} pictures"])
    for name, sidecar in sidecars.items():
        text = (root / sidecar).read_bytes().decode("utf-8-sig", errors="surrogateescape")
        captions.add(name, text.splitlines())
    return captions


def _from_folders(pictures: Collection[str]) -> Captions:
    folders = {name: PurePosixPath(name).parent.name for name in pictures}
    classes = set(folders.values())
    if len(classes) < 2 or "" in classes:
        return Captions(notes=["no captions found"])
    shown = ", ".join(sorted(classes)[:5]) + (", ..." if len(classes) > 5 else "")
    captions = Captions(notes=[f"captions from the names of {len(classes)} folders: {shown}"])
    for name, folder in folders.items():
        captions.add(name, [folder.replace("_", " ")])
    return captions


def _is_broken(text: str) -> bool:
    """Whether a text holds bytes that were not UTF-8, or half of a pair of surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in text)
