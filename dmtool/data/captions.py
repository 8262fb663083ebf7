"""Where a folder's captions stand: metadata files, sidecar files, the names of class folders."""

from __future__ import annotations

import hashlib
import ntpath
import os
import posixpath
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dmtool.data import metadata
from dmtool.data.metadata import Row
from dmtool.data.splits import Folders
from dmtool.data.walk import some, suffix
from dmtool.errors import UserError
from dmtool.files import reading
from dmtool.say import counted

SIDECARS = (".txt", ".caption")
"""Suffixes of a caption's file beside its picture; of two the first counts."""

TABLES = {".jsonl", ".csv", ".parquet", ".json", ".tsv", ".xls", ".xlsx", ".ods", ".arrow"}
KINDS = {*SIDECARS, *TABLES}
"""Suffixes of what may hold captions: files that are not used are named."""

NOT_UTF8 = "its caption is not UTF-8"
ZEROS = "its caption has zero bytes, as UTF-16 without a mark: save it as UTF-8"
THREADS = min(os.cpu_count() or 1, 8)


@dataclass(frozen=True)
class Places:
    """Where captions are taken from, as the names of files tell; `notes` are on what is not."""

    metadata: list[str] = field(default_factory=list)
    sidecars: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """All files that captions are read from."""
        return [*self.metadata, *self.sidecars.values()]


@dataclass
class FolderCaptions:
    """Captions by picture, files that cannot be used by name, and what the user should know."""

    of: dict[str, list[str]] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, texts: list[str]) -> None:
        """Add to the captions of `name`; blank ones are none, and undecoded ones make it bad."""
        if any(map(_is_broken, texts)):
            self.bad[name] = NOT_UTF8
        elif any("\0" in text for text in texts):
            self.bad[name] = ZEROS
        cleaned = (" ".join(text.split()) for text in texts)
        self.of.setdefault(name, []).extend(text for text in cleaned if text)


def find(pictures: Collection[str], others: Iterable[str]) -> Places:
    """Where the captions of `pictures` stand among the `others` (paths relative to the folder).

    The first convention that is met is the one, suffixes in any case:

    1. `metadata.jsonl`, `metadata.csv` or `metadata.parquet`, in the folder or in sub-folders.
    2. Of a picture `a.png` the file `a.txt`, `a.caption`, `a.png.txt` or `a.png.caption`.
    3. None: then the names of folders may be captions.

    What looks like captions and is left is named in the notes.
    """
    kept = [name for name in others if suffix(name) in KINDS]
    tables = sorted(n for n in kept if posixpath.basename(n).lower() in metadata.NAMES)
    beside = _beside(pictures, kept)
    used = sorted({sidecar for several in beside.values() for sidecar in several})
    taken = {*tables, *used}
    notes = _unused([name for name in kept if name not in taken])
    if tables:
        if used:
            left = counted(len(used), "file beside pictures was", "files beside pictures were")
            notes.append(f"{left} left aside ({some(used)}): captions come from {some(tables)}")
        return Places(metadata=tables, notes=notes)
    several = [sidecars for sidecars in beside.values() if len(sidecars) > 1]
    if several:
        have = counted(len(several), "picture has", "pictures have")
        notes.append(f"{have} several caption files, as "
                     f"{some(several[0])}: the first of them is taken")  # fmt: skip
    return Places(sidecars={name: found[0] for name, found in beside.items()}, notes=notes)


def read(root: Path, pictures: Collection[str], places: Places, splits: Folders) -> FolderCaptions:
    """The captions of `pictures` from `places`.

    Of metadata `file_name` and `text` (or `caption` if there is no `text`); a list in JSON, or
    several rows, are several captions. Of a file beside a picture each line that is not blank.
    Else, of pictures in two or more sub-folders and none outside, the name of the folder they stand
    in, those of `splits` left out. Raises UserError for a metadata file that cannot be read, with
    the line's number.
    """
    if places.metadata:
        return _from_metadata(root, places.metadata, set(pictures))
    if places.sidecars:
        return _from_sidecars(root, places.sidecars)
    return _from_folders(pictures, splits)


def digests(root: Path, places: Places) -> list[tuple[str, str]]:
    """The sha256 of each file that captions are read from: an edit is told by content alone."""

    def digest(name: str) -> tuple[str, str]:
        try:
            with open(root / name, "rb") as file:
                return name, hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"{root / name}: {error.strerror}") from error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(digest, places.files))


def _beside(pictures: Iterable[str], others: Iterable[str]) -> dict[str, list[str]]:
    """The caption files beside each picture that has any, the one that counts first."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in sorted(others, reverse=True):  # of a.txt and a.TXT the former
        found.setdefault((str(PurePosixPath(name).with_suffix("")), suffix(name)), []).append(name)
    beside = {}
    for picture in pictures:
        stems = (str(PurePosixPath(picture).with_suffix("")), picture)
        several = [found.get((stem, kind), []) for stem in stems for kind in SIDECARS]
        if any(several):
            beside[picture] = [name for each in several for name in each]
    return beside


def _unused(names: list[str]) -> list[str]:
    """Sentences on files that might have been meant as captions."""
    tables = [name for name in names if suffix(name) in TABLES]
    texts = [name for name in names if suffix(name) in SIDECARS]
    notes = []
    if tables:
        read = " or ".join(metadata.NAMES)
        notes.append(f"{some(tables)}: not read; captions are read from a {read} with the columns "
                     "file_name and text")  # fmt: skip
    if texts:
        notes.append(f"{some(texts)}: beside no picture of that name; the caption of a.png is read "
                     "from a.txt, a.caption or a.png.txt")  # fmt: skip
    return notes


def _from_metadata(root: Path, files: list[str], pictures: set[str]) -> FolderCaptions:
    captions, columns, slashed = FolderCaptions(), Counter[str](), 0
    folders = Counter(posixpath.dirname(name) for name in files)
    for folder in (folder for folder, count in folders.items() if count > 1):
        both = [posixpath.basename(name) for name in files if posixpath.dirname(name) == folder]
        raise UserError(f"both {' and '.join(both)} stand in {root / folder}: keep one")
    for name in files:
        for row in metadata.rows(root, name):
            columns.update(row.values.keys())
            picture, reason = _named(row, root, posixpath.dirname(name), pictures)
            slashed += not reason and "\\" in row.file_name and "\\" not in picture
            captions.add(picture, row.texts)
            if reason:
                captions.bad[picture] = f"{reason} (named in {row.place})"
    used = [name for name in metadata.TEXTS if name in columns]
    if not used:
        raise UserError(
            f"{some(files)}: no column 'text' or 'caption' ({metadata.listed(columns)})"
        )
    captions.notes.append(f"captions from {some(files)}, column {used[0]!r}")
    if slashed:
        read = counted(
            slashed, "file name with backslashes was", "file names with backslashes were"
        )
        captions.notes.append(f"{read} read with slashes")
    return captions


def _named(row: Row, root: Path, folder: str, pictures: set[str]) -> tuple[str, str]:
    """The picture that a row in a metadata file of `folder` names, and why it is none, or ""."""
    name = row.file_name
    for spelling in _spellings(name, root, folder):
        if spelling in pictures:
            return spelling, ""
    if posixpath.isabs(name) or ntpath.splitdrive(name)[0]:
        return name, "an absolute name of no picture in the folder: write it as from there"
    return posixpath.normpath(posixpath.join(folder, name)), "no such picture"


def _spellings(name: str, root: Path, folder: str) -> Iterator[str]:
    """What a name may mean, as a path below the root: as it stands, with slashes, absolute."""
    for each in dict.fromkeys([name, name.replace("\\", "/")]):
        yield posixpath.normpath(posixpath.join(folder, each))
    for base in (root.absolute(), root.resolve()):
        if PurePosixPath(name).is_relative_to(base):
            yield PurePosixPath(name).relative_to(base).as_posix()


def _from_sidecars(root: Path, sidecars: Mapping[str, str]) -> FolderCaptions:
    kinds = Counter(map(suffix, sidecars.values()))
    shown = " and ".join(kind for kind in SIDECARS if kinds[kind])
    captions = FolderCaptions(
        notes=[f"captions from {shown} files beside {counted(len(sidecars), 'picture')}"]
    )
    for name, sidecar in sidecars.items():
        captions.add(name, metadata.decoded(reading.read_bytes(root / sidecar)).splitlines())
    return captions


def _from_folders(pictures: Collection[str], splits: Folders) -> FolderCaptions:
    folders = {name: _class_of(name, splits) for name in pictures}
    classes = set(folders.values())
    if len(classes) < 2 or "" in classes:
        return FolderCaptions(notes=["no captions found"])
    shown = ", ".join(sorted(classes)[:5]) + (", ..." if len(classes) > 5 else "")
    captions = FolderCaptions(
        notes=[f"captions from the names of {counted(len(classes), 'folder')}: {shown}"]
    )
    for name, folder in folders.items():
        captions.add(name, [folder.replace("_", " ")])
    return captions


def _class_of(picture: str, splits: Folders) -> str:
    """The name of the innermost folder that is no split's, or "" if there is none."""
    folder = posixpath.dirname(picture)
    while folder in splits:
        folder = posixpath.dirname(folder)
    return posixpath.basename(folder)


def _is_broken(text: str) -> bool:
    """Whether a text holds bytes that were not UTF-8, or half of a pair of surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in text)
