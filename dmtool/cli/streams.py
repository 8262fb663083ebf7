"""The user's end of stdout and stderr: it may go away, and may not know all characters."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

GONE = {errno.EPIPE, errno.EIO, errno.EBADF}
"""What writing to a pipe that nobody reads, to a terminal that was closed, and to nothing says."""

CUT_OFF = 141
"""The exit code of what was reading on: that of a process that SIGPIPE has ended."""


class Stream(io.TextIOBase):
    """Writes to a stream until its reader is gone, and from then on nowhere."""

    def __init__(self, stream: Any) -> None:
        self._stream, self.cut = stream, False

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._lost(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def isatty(self) -> bool:
        return not self.cut and bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(self._stream.encoding)

    def _lost(self, error: OSError) -> None:
        """What is still in the buffer goes nowhere, too."""
        if error.errno not in GONE:
            raise error
        self.cut = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def install() -> None:
    """Make stdout and stderr such streams. One that was closed from the beginning is nowhere, so
    that no file which is opened gets its number."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            while (nowhere := os.open(os.devnull, os.O_RDWR)) < number:
                pass
            setattr(sys, name, os.fdopen(nowhere, "r" if number == 0 else "w"))
        if number:
            getattr(sys, name).reconfigure(errors="backslashreplace")
            setattr(sys, name, Stream(getattr(sys, name)))


def finish() -> bool:
    """Write out what is left; whether stdout was cut off."""
    sys.stderr.flush()
    sys.stdout.flush()
    return bool(getattr(sys.stdout, "cut", False))
