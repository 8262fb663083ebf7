"""The files below a folder, as all that reads a folder of pictures sees them: one walker."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dmtool.errors import UserError
from dmtool.say import counted

PICTURES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".tga"),
}

LITTER = {
    *("@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin"),
    *("__macosx", "lost+found", "system volume information"),
}
"""Folders of thumbnails, forks and deleted files that disks and systems make, in small letters."""

SHOWN = 5  # names in a line


class File(NamedTuple):
    """A file as the folder lists it: its path below the root, bytes, times in ns.

    `changed` is that of its content, `status` that of its inode, which no program can set back;
    `regular` is False of what is no file (a pipe) and of a link to nowhere.
    """

    name: str
    size: int
    changed: int
    status: int
    regular: bool

    @property
    def kind(self) -> str:
        """The suffix in small letters."""
        return suffix(self.name)


@dataclass
class Listing:
    """All files below a folder by their names, and what was passed over.

    `folders`: hidden folders, those of `LITTER`, and links to folders read already, by their names;
    `hidden`: hidden picture files.
    """

    files: list[File] = field(default_factory=list)
    folders: Counter[str] = field(default_factory=Counter)
    hidden: int = 0

    @property
    def pictures(self) -> list[str]:
        """The names of the picture files."""
        return [file.name for file in self.files if file.kind in PICTURES]

    @property
    def others(self) -> list[str]:
        """The names of all other files that can be read."""
        return [file.name for file in self.files if file.kind not in PICTURES and file.regular]

    @property
    def notes(self) -> list[str]:
        """What was passed over, in sentences."""
        shown = [f"{n} x {name}" if n > 1 else name for name, n in self.folders.most_common()]
        return [
            f"{counted(count, what)}{more} left aside{': ' * bool(names)}{some(names)}"
            for count, what, more, names in (
                (
                    self.folders.total(),
                    "folder",
                    " (hidden, of the system, or linked twice)",
                    shown,
                ),
                (self.hidden, "hidden picture file", "", []),
            )
            if count
        ]


def walk(root: Path) -> Listing:
    """The files below `root`, in the order of their names.

    Links to folders are followed, but each folder is read once. Hidden files (".a.png") and hidden
    folders, and those of `LITTER`, are passed over. UserError if a folder cannot be read.
    """
    found, seen = Listing(), set[str]()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            below[:] = []
            found.folders[os.path.basename(folder)] += 1
            continue
        seen.add(real)
        found.folders.update(name for name in below if _passed(name))
        found.hidden += sum(name[0] == "." and suffix(name) in PICTURES for name in names)
        below[:] = sorted(name for name in below if not _passed(name))
        found.files += [_file(root, folder, name) for name in names if name[0] != "."]
    found.files.sort()
    return found


def suffix(name: str) -> str:
    """A name's last suffix in small letters: ".png", or "" without one."""
    return PurePosixPath(name).suffix.lower()


def some(names: Iterable[str]) -> str:
    """The first names, and how many more there are; safe to print."""
    names = list(names)
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(printable, names[:SHOWN])) + more


def printable(name: str) -> str:
    """A file's name, of whatever bytes, as text."""
    return name.encode(errors="backslashreplace").decode()


def _passed(folder: str) -> bool:
    return folder[0] == "." or folder.lower() in LITTER


def _file(root: Path, folder: str, name: str) -> File:
    path = Path(folder, name)
    try:
        facts = path.stat()
    except OSError:  # a link to nowhere: named when it is read
        facts = path.lstat()
    regular = stat.S_ISREG(facts.st_mode)
    below = path.relative_to(root).as_posix()
    return File(below, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, regular)


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}") from error
