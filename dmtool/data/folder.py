"""Your own pictures: any folder of picture files, with captions by the imagefolder convention."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from dmtool.config.parts import FolderData
from dmtool.data import captions as captions_
from dmtool.data import splits as splits_
from dmtool.data.captions import Places
from dmtool.data.store import BadFile, Example, Findings, Source, stored
from dmtool.data.transforms import open_picture
from dmtool.data.walk import PICTURES, Listing, printable, some, walk
from dmtool.errors import UserError
from dmtool.files.digests import digest
from dmtool.say import counted

ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
THREADS = min(os.cpu_count() or 1, 8)
WINDOW = 64  # files read ahead at once, which bounds the memory
LARGEST = 2**31 - 1  # bytes that fit a cell of Arrow
READING = 2
"""Part of the cache's key: raise it when a folder is read in another way."""


class Checked(NamedTuple):
    """A good picture file: its bytes, and whether it has more frames than the first."""

    data: bytes
    frames: bool


def load(config: FolderData) -> Source:
    """The pictures below `config.path`, checked and copied to the cache on the first call.

    The key of a picture is its path relative to the folder. A file that cannot be used is named
    in `bad` with its reason. The cache is keyed by the pictures' names, sizes and times (also the
    inode's, from which no edit can hide) and the captions' content, so a changed folder is read
    anew. Raises UserError if there is no such folder, its metadata cannot be read, or its folders
    leave open what the splits are.
    """
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise UserError(f"data.path={config.path}: there is no such folder")
    listing = walk(root)
    places = captions_.find(listing.pictures, listing.others)
    folders = splits_.folders_of(listing.pictures) if config.splits == "folders" else {}
    key = {
        "kind": "folder",
        "reading": READING,
        "path": str(root.resolve()),
        "files": digest([file for file in listing.files if file.kind in PICTURES]),
        "captions": digest(captions_.digests(root, places)),
        "max_pixels": config.max_pixels,
        "splits": folders,
    }

    def build(findings: Findings) -> Iterator[Example]:
        return _examples(root, listing, places, config.max_pixels, findings)

    source = stored(key, build, folders)
    return replace(source, notes=(*source.notes, *_left(listing, places)))


def check(path: Path, max_pixels: int) -> Checked:
    """A picture file that was decoded to its last pixel (of its first frame).

    Raises ValueError with the reason if it is empty, too large or of no known mode; whatever the
    decoder raises if it is broken.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("no regular file")
    if not facts.st_size:
        raise ValueError("empty file (0 bytes)")
    if facts.st_size > LARGEST:
        raise ValueError(f"{facts.st_size} bytes are more than the {LARGEST} that can be stored")
    data = path.read_bytes()
    image = open_picture(data, max_pixels)
    image.load()
    frames = _has_frames(image)
    ImageOps.exif_transpose(image, in_place=True)
    return Checked(data, frames)


def _has_frames(image: Image.Image) -> bool:
    """Whether a file has more frames or pages than the first, which alone is taken."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise anything: there is a second frame, and it is damaged
        return True


def _examples(
    root: Path, listing: Listing, places: Places, max_pixels: int, findings: Findings
) -> Iterator[Example]:
    pictures, folders = listing.pictures, findings.folders
    captions = captions_.read(root, pictures, places, folders)
    findings.notes += [*captions.notes, *_without(pictures, captions.of)]
    findings.notes += splits_.notes(folders, pictures)
    findings.bad += [BadFile(printable(name), reason) for name, reason in captions.bad.items()]
    pictures = [name for name in pictures if name not in captions.bad]
    animated = []
    for name, outcome in _checked(root, pictures, max_pixels):
        if isinstance(outcome, str):
            findings.bad.append(BadFile(printable(name), outcome))
            continue
        animated += [name] if outcome.frames else []
        yield Example(name, captions.of.get(name, []), outcome.data)
    findings.notes += _animated(animated)


def _checked(root: Path, names: list[str], max_pixels: int) -> Iterator[tuple[str, Checked | str]]:
    """Each picture, or the reason why it cannot be used; several are read at once."""

    def outcome(name: str) -> Checked | str:
        try:
            name.encode()
            return check(root / name, max_pixels)
        except UnicodeEncodeError:
            return "its name is not UTF-8"
        except Exception as error:  # decoders raise anything: it is named, counted and limited
            return _reason(error)

    with (
        ThreadPoolExecutor(THREADS) as pool,
        tqdm(total=len(names), desc="checking pictures", unit="files") as bar,
    ):
        for start in range(0, len(names), WINDOW):
            window = names[start : start + WINDOW]
            yield from zip(window, pool.map(outcome, window), strict=True)
            bar.update(len(window))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that can be decoded"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _left(listing: Listing, places: Places) -> list[str]:
    """Sentences on what was not read."""
    files = [file for file in listing.files if file.kind not in PICTURES | captions_.KINDS]
    archives = [file.name for file in files if file.kind in ARCHIVES]
    kinds = Counter(file.kind for file in files if file.kind not in ARCHIVES)
    notes = [*places.notes, *listing.notes]
    if archives:
        notes.append(f"{some(archives)}: archives are not opened, unpack them")
    if kinds:
        shown = some(f"{n} {kind or 'without suffix'}" for kind, n in kinds.most_common())
        notes.append(
            counted(
                kinds.total(),
                "file is neither picture nor caption and was",
                "files are neither pictures nor captions and were",
            )
            + f" left aside: {shown}"
        )
    return notes


def _without(pictures: list[str], captions: dict[str, list[str]]) -> list[str]:
    count = sum(not captions.get(name) for name in pictures)
    return [f"{count} of {len(pictures)} pictures have no caption"] if captions and count else []


def _animated(names: Sequence[str]) -> list[str]:
    return [f"of {len(names):,} files with several frames or pages the first is taken: "
            f"{some(names)}"] if names else []  # fmt: skip
