"""The rows of metadata files: JSON Lines, CSV, Parquet; UTF-8, or UTF-16 that says so."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pyarrow as pa
from pyarrow import parquet

from dmtool.data.walk import printable, some, suffix
from dmtool.errors import UserError

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""What such files are called, in small letters: as Hugging Face's imagefolder has it."""

FILE = "file_name"
TEXTS = ("text", "caption")
"""The columns: of the picture, and of its caption, the first of which counts."""

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by the byte order mark that a text begins with; the longer marks go first."""

LONGEST = 100  # characters of a value in a message
LINE = 2**24  # of a line: more than any has


class Row(NamedTuple):
    """A line of a metadata file: where it stands and its values by column."""

    place: str
    values: Mapping[str, Any]

    @property
    def file_name(self) -> str:
        name = self.values.get(FILE)
        if not isinstance(name, str) or not name:
            raise UserError(f"{self.place}: no {FILE!r} ({listed(self.values)})")
        return name

    @property
    def texts(self) -> list[str]:
        """The captions: none, one, or those of a list. UserError if it is something else."""
        column = next((name for name in TEXTS if name in self.values), TEXTS[0])
        value = self.values.get(column)
        texts = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(text, str) for text in texts):
            raise UserError(
                f"{self.place}: {column!r} is neither a text nor a list of texts: {_short(value)}"
            )
        return texts


def rows(root: Path, name: str) -> Iterator[Row]:
    """The rows of a metadata file below a folder; UserError, with the line's number, where it is
    damaged.

    What is not UTF-8 passes as surrogates, so that the row's other columns still name the file.
    """
    path = root / name
    if suffix(name) == ".parquet":
        yield from _parquet_rows(path, name)
        return
    encoding = encoding_of(path)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    with open(path, encoding=encoding, errors=errors, newline="") as file:
        read = _json_rows if suffix(name) == ".jsonl" else _csv_rows
        try:
            yield from read(_lines(file, name), name)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name} begins as {encoding.upper()} and is none: save it as UTF-8"
            ) from error


def decoded(data: bytes) -> str:
    """A text by its byte order mark, else as UTF-8; what does not fit passes as surrogates."""
    encoding = _marked(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("utf-8", errors="surrogateescape")


def encoding_of(path: Path) -> str:
    """The encoding that a text file's mark says, else UTF-8."""
    with open(path, "rb") as file:
        return _marked(file.read(4))


def listed(columns: Iterable[str]) -> str:
    """The columns that were found, in words."""
    return "found " + (some(map(_short, columns)) or "nothing")


def _marked(data: bytes) -> str:
    return next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")


def _lines(file: TextIO, name: str) -> Iterator[str]:
    """The lines of a file; UserError for one that is longer than any, before it is in memory."""
    number = 0
    while line := file.readline(LINE):
        number += 1
        if len(line) == LINE:
            raise UserError(f"{name}, line {number}: it has more than {LINE:,} characters")
        yield line


def _json_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            reason = getattr(error, "msg", error)
            raise UserError(f"{place}: this is not JSON ({reason})") from error
        except RecursionError as error:
            raise UserError(f"{place}: this is nested too deeply") from error
        if not isinstance(values, dict):
            raise UserError(f'{place}: expected {{"file_name": ..., "text": ...}}')
        yield Row(place, values)


def _csv_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True)
    try:
        filled = (cells for cells in reader if cells)
        header = next(filled, [])
        for column in (FILE, *TEXTS):
            if header.count(column) > 1:
                raise UserError(f"{name}: {header.count(column)} columns are called {column!r}")
        for cells in filled:
            place = f"{name}, line {reader.line_num}"
            if len(cells) > len(header):
                raise UserError(_too_many(place, cells, len(header)))
            yield Row(place, dict.fromkeys(header) | dict(zip(header, cells, strict=False)))
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: this is not CSV ({error})") from error


def _too_many(place: str, cells: list[str], columns: int) -> str:
    return (
        f"{place}: {len(cells)} cells under {columns} columns, so that what follows "
        f"{_short(cells[columns - 1])} would be lost; put a text that has commas in quotes: "
        'a.png,"a red box, on white ground"'
    )


def _parquet_rows(path: Path, name: str) -> Iterator[Row]:
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = [column for column in (FILE, *TEXTS) if column in names]
            if FILE not in wanted or len(wanted) == 1:
                missing = FILE if FILE not in wanted else " or ".join(map(repr, TEXTS))
                raise UserError(f"{name}: no column {missing} ({listed(names)})")
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{name}, row {number}", values)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{name} cannot be read as Parquet: {reason}") from error


def _short(value: object) -> str:
    text = printable(repr(value))
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."
