"""Notices that training hangs: a thread that nobody in the loop waits for."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Alert = Callable[[float, str], None]
"""Told the seconds without a step, and the line of code that the main thread is at."""


class Watchdog:
    """Calls `alert`, once a stall, when `beat` was not called for `limit` seconds."""

    def __init__(self, limit: float, alert: Alert) -> None:
        self.limit, self.alert = limit, alert
        self._last = time.monotonic()
        self._over = threading.Event()

    def beat(self) -> None:
        """A step has ended."""
        self._last = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it the thread runs."""
        self.beat()
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()

    def _watch(self) -> None:
        told = 0.0
        while not self._over.wait(self.limit / 10):
            last, now = self._last, time.monotonic()
            if last != told and now - last > self.limit:
                told = last
                self.alert(now - last, where())


def where() -> str:
    """The line that the main thread is at: 'data/pictures.py, line 12, in load'."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    here = traceback.extract_stack(frame)[-1]
    return f"{'/'.join(Path(here.filename).parts[-3:])}, line {here.lineno}, in {here.name}"
