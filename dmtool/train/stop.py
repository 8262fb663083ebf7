"""When a training ends: at its limit, or after a signal to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import torch

from dmtool.errors import heard, interrupt
from dmtool.train.context import Context


class Stop:
    """Decides alike on all processes."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._signal = 0

    def decide(self) -> tuple[float, bool]:
        """(progress in [0, 1], whether to stop now)."""
        progress = self.context.progress
        fraction = self.context.config.limit.fraction(progress.pictures, progress.seconds)
        decision = torch.tensor([fraction, float(self._signal)], dtype=torch.float64)
        fraction, stop = self.context.group.largest(decision).tolist()
        return fraction, bool(stop)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within it a signal ends the run after the current step; a second SIGINT at once."""
        old = {number: signal.signal(number, self._handle) for number in heard()}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == self._signal == signal.SIGINT:
            interrupt(number, frame)
        self._signal = number
        with suppress(OSError):  # print could be in the middle of a line, and the terminal be gone
            os.write(2, b"\nfinishing this step, then saving\n")
