"""Files that appear whole or not at all, and are on the disk when they do."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: bytes, temporary: str) -> None:
    """Write a file by way of another name beside it, which nobody else may be using."""
    beside = path.with_name(temporary)
    beside.write_bytes(content)
    sync(beside)
    beside.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a directory's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
