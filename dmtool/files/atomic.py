"""Files that appear whole or not at all, and are on the disk when they do."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""How a file system says that it has no hard links, or no more of a file."""

PARTIAL = ".partial"
"""Ends the name of what is not yet written, or not yet deleted: `.NAME.partial`."""


def write(path: Path, content: bytes, temporary: str) -> None:
    """Write a file by way of another name beside it, which nobody else may be using."""
    beside = path.with_name(temporary)
    beside.write_bytes(content)
    sync(beside)
    beside.replace(path)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a small file, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text.encode(), f".{path.name}.{os.getpid()}{PARTIAL}")


def write_json(path: Path, value: Any) -> None:
    """Write what JSON can hold, for people to read, too."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def link(path: Path, other: Path) -> None:
    """Give a file a second name; a copy of it where the file system has no links."""
    try:
        os.link(path, other)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copyfile(path, other)


def sync(path: Path) -> None:
    """Wait until a file's content, or a directory's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
