"""One training at a time in a stage's directory: who trains there says so in a file.

    lock.json    {host, place, pid, born, token}; its time is renewed while the owner lives

The file is one that a single process can create, for not every network disk keeps the system's
locks. On one machine it is known whether the owner lives. Another machine's is taken for dead when
it has given no sign of life for `SILENT` seconds, by the disk's clock or by watching it.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import psutil
from pydantic import Field

from dmtool.errors import RESUMABLE, UserError
from dmtool.files import reading
from dmtool.runs.process_card import Finite
from dmtool.say import say

NAME = "lock.json"

BEAT = 5.0
"""Seconds between two signs of life."""

SILENT = 60.0
"""Seconds without one after which another machine's process is taken for dead."""

MOST = 4096
"""Bytes of the file."""

GRACE = 1.0
"""Seconds by which a process's beginning may be told differently, and before a second look."""


@dataclass(frozen=True)
class Owner:
    """A process: `place` names the table of processes that `pid` is of, `born` is its beginning in
    seconds since 1970, `token` one training of it."""

    host: str
    place: str
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    born: Finite
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


UNKNOWN = Owner("an unknown machine", "", 0, 0.0, "")
"""Of a file that cannot be read."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Within it this process alone trains in `folder`; UserError if another one does."""
    folder.mkdir(parents=True, exist_ok=True)
    path, me = folder / NAME, _me()
    _acquire(path, me)
    stop = threading.Event()
    beats = threading.Thread(target=_beat, args=(path, me, stop), daemon=True, name="lock")
    beats.start()
    try:
        yield
    finally:
        stop.set()
        beats.join()
        if _read(path) == me:
            path.unlink()


def _me() -> Owner:
    process = psutil.Process()
    return Owner(platform.node(), _place(), process.pid, process.create_time(), uuid4().hex)


def _place() -> str:
    """The machine, since it was started, and the container: where a number means one process."""
    facts = [platform.node()]
    with suppress(OSError):  # what is not Linux has neither
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(facts)


def _acquire(path: Path, me: Owner) -> None:
    while not _created(path, me):
        if path.is_symlink():
            raise UserError(f"{path} is a link, which no training has made: remove it")
        owner = _read(path)
        if owner is not None and _alive(owner, path):
            raise UserError(
                f"{path.parent} is being trained by {owner}: wait until it ends or stop it, or "
                "take another run="
            )
        if owner is not None and owner == _read(path):  # it may have ended just now
            _clear(path, owner)


def _created(path: Path, owner: Owner) -> bool:
    try:
        file = open(path, "x")  # noqa: SIM115
    except FileExistsError:
        return False
    try:
        with file:
            file.write(json.dumps(asdict(owner)))
    except OSError:
        path.unlink()
        raise
    return True


def _read(path: Path) -> Owner | None:
    """Who the file names; None if there is no file."""
    try:
        owner: Owner = reading.read_json(path, Owner, MOST)
        return owner
    except reading.Missing:
        return None
    except reading.Unreadable:
        return UNKNOWN


def _alive(owner: Owner, path: Path) -> bool:
    """A process of its number that seems to be younger may be it, if the clock was set."""
    if owner.place != _place():
        return _seen_alive(owner, path)
    try:
        process = psutil.Process(owner.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        same = abs(process.create_time() - owner.born) <= GRACE
    except psutil.NoSuchProcess:
        return False
    return same or _seen_alive(owner, path)


def _seen_alive(owner: Owner, path: Path) -> bool:
    """Whether it gives a sign of life before it has been silent for too long."""
    before, until = _renewed(path), time.monotonic() + SILENT - _silence(path)
    if time.monotonic() < until:
        say(f"{path.parent}: waiting for a sign of life from {owner}", error=True)
    while time.monotonic() < until and _read(path) == owner:
        if _renewed(path) != before:
            return True
        time.sleep(BEAT / 5)
    return False


def _silence(path: Path) -> float:
    """Seconds since the last sign of life, by the clock of the disk that the file is on."""
    probe = path.with_name(f".{NAME}.{uuid4().hex}.partial")
    probe.touch()
    now, then = probe.stat().st_mtime, _renewed(path)
    probe.unlink()
    return max(0.0, now - (then or now))


def _renewed(path: Path) -> float | None:
    """When, as an opened file tells it, which network disks ask their server for."""
    try:
        with reading.opened(path) as file:
            return os.fstat(file.fileno()).st_mtime
    except reading.Missing:
        return None


def _clear(path: Path, dead: Owner) -> None:
    """Remove a dead owner's file, and no other's that may have come in its place."""
    aside = path.with_name(f".{NAME}.{uuid4().hex}.partial")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    found = _read(aside)
    if found is not None and found != dead:
        _created(path, found)
    aside.unlink()


def _beat(path: Path, me: Owner, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        try:
            if not _renew(path, me) and not stop.wait(GRACE) and not _renew(path, me):
                _leave(path)
        except (OSError, UserError) as error:  # the disk does not answer: the next beat may
            say(f"{path}: {getattr(error, 'strerror', error)}", error=True)


def _renew(path: Path, me: Owner) -> bool:
    """Whether the file is still this process's, or is again."""
    owner = _read(path)
    if owner is None:
        return _created(path, me)
    if owner == me:
        os.utime(path)
    return owner == me


def _leave(path: Path) -> None:
    """End at once: two that train would spoil each other's files."""
    say(f"\ndmtool: {path.parent} was taken over by {_read(path)}", error=True)
    os._exit(RESUMABLE)
