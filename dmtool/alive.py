"""Which of a command's processes are alive, and how the rest end when one is not.

Each process says that it is alive in the store of the process group, once a second and from a
thread of its own, and reads what the others say. So a lost one is found and named whatever its
peers are waiting in, on any backend, while a main process that validates for an hour harms nobody.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from torch.distributed import PrefixStore, Store

from dmtool.errors import RESUMABLE, CheckFailed, Stopped, UserError, verdict
from dmtool.say import say

BEAT = 1.0
"""Seconds between two signs of life."""

SILENT = 5.0
"""Seconds without one after which a process is the one to name, once something has gone wrong."""

LINGER = 3.0
"""Seconds that a process that ends waits for the others to read why."""


@dataclass(frozen=True)
class Cause:
    """Why the processes end: an exit code, the one that it comes from, and what became of it."""

    code: int
    rank: int
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.who} {self.what}"


class Alive:
    """The signs of life of a group's processes. `store` must be a connection of its own.

    One thread talks to the store, which may hang if the process that keeps it does; another one
    draws the conclusions.
    """

    def __init__(self, store: Store, rank: int, world: int, timeout: float) -> None:
        self.rank, self.world, self.timeout = rank, world, timeout
        self.name = f"rank {rank} of {world} ({platform.node()}, pid {os.getpid()})"
        self.store = PrefixStore("dmtool-alive", store)
        self.marks, self.occupied, self.ending = 0, False, False
        self.cause: Cause | None = None
        self._seen: list[dict[str, Any]] = []
        self._heard, self._beats, self._gone = [time.monotonic()] * world, 0, False
        self._fewest, self._moved = -1, time.monotonic()
        self._stop, self._hurry = threading.Event(), threading.Event()
        self._tell()

    def start(self) -> None:
        """Begin; all processes have been made."""
        self._listen()
        for act in (self._talk, self._watch):
            threading.Thread(target=act, daemon=True, name="alive").start()

    def stop(self) -> None:
        """Nobody is needed any more."""
        self._stop.set()
        self._hurry.set()

    def mark(self) -> None:
        """Say that the work goes on: whoever has the fewest marks keeps the others waiting."""
        self.marks += 1

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Within it this process may take as long as it likes, and the others wait."""
        self.occupied = True
        try:
            yield
        finally:
            self.occupied = False

    def end(self, error: BaseException) -> None:
        """Tell the others that this process ends with an error, unless it ends because of them.

        Then it leaves with their cause. It also leaves, without a word, if the main process says
        the same.
        """
        self.ending = True
        if isinstance(error, RuntimeError):  # as failed operations of all processes are
            found = self._ask()
            if found:
                self.leave(found)
        code, line = verdict(error)
        self.cause = Cause(code, self.rank, self.name, f"ended: {line}")
        self._linger()
        main = self._cause_of(0)
        if self.rank and main and (main.rank, main.what) == (0, self.cause.what):
            raise SystemExit(code)
        if self.rank and isinstance(error, UserError | CheckFailed | Stopped):
            raise type(error)(f"{self.name}: {line}") from error

    def leave(self, cause: Cause) -> NoReturn:
        """End this process at once, whatever its threads and its accelerator are waiting for."""
        self.cause = cause
        self._linger()
        say(f"\ndmtool: {cause}", error=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(cause.code)

    def _watch(self) -> None:
        while not self._stop.wait(BEAT):
            if not self._look(self.timeout) or self._stop.wait(BEAT):
                continue
            cause = self._look(self.timeout)  # again: a whole machine may have been asleep
            if cause and not self.ending:
                self.ending = True
                self.leave(cause)

    def _ask(self) -> Cause | None:
        """Who has gone, after an operation that needs all has failed."""
        until = time.monotonic() + SILENT + 2 * BEAT
        while time.monotonic() < until:
            cause = self._look(min(SILENT, self.timeout))
            if cause:
                return cause
            time.sleep(BEAT / 5)
        return None

    def _talk(self) -> None:
        while not self._stop.is_set():
            try:
                self._tell()
                self._listen()
            except RuntimeError:
                self._gone = True
                return
            self._hurry.wait(BEAT)
            self._hurry.clear()

    def _tell(self) -> None:
        self._beats += 1
        state = {"beat": self._beats, "name": self.name, "marks": self.marks, "busy": self.occupied}
        if self.cause:
            state["cause"] = vars(self.cause)
        self.store.set(str(self.rank), json.dumps(state))

    def _listen(self) -> None:
        states = self.store.multi_get([str(rank) for rank in range(self.world)])
        now, before = time.monotonic(), self._seen
        self._seen = [json.loads(state) for state in states]
        for rank, state in enumerate(self._seen):
            if not before or state != before[rank]:
                self._heard[rank] = now

    def _look(self, patience: float) -> Cause | None:
        """What is wrong, if anything; silence is forgiven for `patience` seconds."""
        others = (self._cause_of(rank) for rank in range(self.world) if rank != self.rank)
        return next(filter(None, others), None) or self._silent(patience) or self._stalled()

    def _silent(self, patience: float) -> Cause | None:
        """Who no longer speaks. If this process itself is not heard, the store does not answer,
        which the first process keeps, or its launcher."""
        now, here = time.monotonic(), self._heard[self.rank]
        if self._gone or now - here > patience:
            return self._lost(0, "was lost: it no longer answers")
        for rank, heard in enumerate(self._heard):
            if here - heard > patience:
                return self._lost(rank, f"was lost: no sign of life for {now - heard:.0f} s")
        return None

    def _stalled(self) -> Cause | None:
        """All live, but one keeps the others waiting. The first step may take its time."""
        marks, now = [state["marks"] for state in self._seen], time.monotonic()
        fewest = min(marks)
        if fewest != self._fewest or any(state["busy"] for state in self._seen):
            self._fewest, self._moved = fewest, now
        if fewest < 3 or now - self._moved < self.timeout:
            return None
        what = f"is alive but has stood still for {self.timeout:g} s"
        if min(marks) == max(marks):
            return Cause(RESUMABLE, self.rank, "every rank", what)
        return self._lost(marks.index(fewest), what)

    def _linger(self) -> None:
        """Say why this process ends, and wait until the others have said it too."""
        until = time.monotonic() + LINGER
        while not self._gone and time.monotonic() < until:
            self._hurry.set()
            time.sleep(BEAT / 5)
            lost = self.cause.rank if self.cause else None
            if all(self._cause_of(rank) for rank in range(self.world) if rank != lost):
                return

    def _cause_of(self, rank: int) -> Cause | None:
        cause = self._seen[rank].get("cause")
        return Cause(**cause) if cause else None

    def _lost(self, rank: int, what: str) -> Cause:
        return Cause(RESUMABLE, rank, self._seen[rank]["name"], what)
