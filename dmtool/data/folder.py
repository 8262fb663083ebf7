"""Your own pictures: any folder of picture files, with captions by the imagefolder convention."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import ImageOps, UnidentifiedImageError
from tqdm import tqdm

from dmtool import cache
from dmtool.data import captions as captions_
from dmtool.data.store import BadFile, Example, Findings, Source, stored
from dmtool.data.transforms import open_picture
from dmtool.errors import UserError
from dmtool.schemas import FolderData

PICTURES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".tga"),
}
CAPTIONS = {".txt", ".jsonl", ".csv"}
THREADS = min(os.cpu_count() or 1, 8)
WINDOW = 64  # files read ahead at once, which bounds the memory
LARGEST = 2**31 - 1  # bytes that fit a cell of Arrow


class File(NamedTuple):
    """A file as the folder lists it: its path below the root, bytes, time of change."""

    name: str
    size: int
    changed: int

    @property
    def kind(self) -> str:
        return PurePosixPath(self.name).suffix.lower()


def load(config: FolderData) -> Source:
    """The pictures below `config.path`, checked and copied to the cache on the first call.

    The key of a picture is its path relative to the folder. A file that cannot be used is named
    in `bad` with its reason. The cache is keyed by the names, sizes and times of all files, so a
    changed folder is read anew. Raises UserError if there is no such folder or its metadata
    cannot be read.
    """
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise UserError(f"data.path={config.path}: there is no such folder")
    files = sorted(_files(root))
    key = {
        "kind": "folder",
        "path": str(root.resolve()),
        "files": cache.digest(files),
        "max_pixels": config.max_pixels,
    }
    return stored(key, lambda findings: _examples(root, files, config.max_pixels, findings))


def check(path: Path, max_pixels: int) -> bytes:
    """The bytes of a picture file that was decoded to its last pixel.

    Raises ValueError with the reason if it is empty, too large or of no known mode; whatever the
    decoder raises if it is broken.
    """
    size = path.stat().st_size
    if not size:
        raise ValueError("empty file (0 bytes)")
    if size > LARGEST:
        raise ValueError(f"{size} bytes are more than the {LARGEST} that can be stored")
    data = path.read_bytes()
    image = open_picture(data, max_pixels)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return data


def _files(root: Path) -> Iterator[File]:
    """All files below `root` except hidden ones; links are followed, but in no circle."""
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        below[:] = [] if real in seen else sorted(n for n in below if not n.startswith("."))
        visible = [] if real in seen else [n for n in names if not n.startswith(".")]
        seen.add(real)
        for name in visible:
            path = Path(folder, name)
            facts = path.stat() if path.exists() else path.lstat()
            yield File(path.relative_to(root).as_posix(), facts.st_size, facts.st_mtime_ns)


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}") from error


def _examples(
    root: Path, files: list[File], max_pixels: int, findings: Findings
) -> Iterator[Example]:
    pictures = [file.name for file in files if file.kind in PICTURES]
    captions = captions_.read(root, pictures, {file.name for file in files} - set(pictures))
    findings.notes += [*captions.notes, *_ignored(files), *_without(pictures, captions.of)]
    findings.bad += [BadFile(_shown(name), reason) for name, reason in captions.bad.items()]
    pictures = [name for name in pictures if name not in captions.bad]
    for name, outcome in _checked(root, pictures, max_pixels):
        if isinstance(outcome, bytes):
            yield Example(name, captions.of.get(name, []), outcome)
        else:
            findings.bad.append(BadFile(_shown(name), outcome))


def _checked(root: Path, names: list[str], max_pixels: int) -> Iterator[tuple[str, bytes | str]]:
    """Each picture's bytes, or the reason why it cannot be used; several are read at once."""

    def outcome(name: str) -> bytes | str:
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


def _ignored(files: list[File]) -> list[str]:
    kinds = Counter(file.kind for file in files if file.kind not in PICTURES | CAPTIONS)
    if not kinds:
        return []
    shown = ", ".join(f"{count} {kind or 'without suffix'}" for kind, count in kinds.most_common(5))
    return [f"{kinds.total()} files are neither pictures nor captions and were left aside: {shown}"]


def _without(pictures: list[str], captions: dict[str, list[str]]) -> list[str]:
    count = sum(not captions.get(name) for name in pictures)
    return [f"{count} of {len(pictures)} pictures have no caption"] if captions and count else []


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
