"""Locks of the cache's entries: the system's, which is free again when its holder dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dmtool.errors import DISK_FULL, UserError


@contextmanager
def locked(entry: Path, first: int = 0, length: int = 1, wait: bool = True) -> Iterator[bool]:
    """Hold bytes of the entry's lock (`length` 0: all); False if they are taken and not waited for.

    A process holds one lock of an entry at a time. The file stays, empty: were it removed, one
    process could wait for the old file while another holds the new one. Raises UserError where
    nothing can be written, and on a file system without locks.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        file = open(entry.with_name(f".{entry.name}.lock"), "ab")  # noqa: SIM115
        mine = _lock(file, first, length, wait)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise UserError(
            f"the cache {entry.parent.parent} cannot be written to or locked ({error.strerror}): "
            "set DMTOOL_CACHE to another directory"
        ) from error
    with file:  # closing it frees the lock
        yield mine


def _lock(file: BinaryIO, first: int, length: int, wait: bool) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), length, first)
    except BlockingIOError:
        return False
    return True
