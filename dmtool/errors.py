"""What went wrong, in the words and exit codes of the command line."""

from __future__ import annotations

import errno
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType

from dmtool.say import say

FAULT, MISTAKE, FAILED, RESUMABLE = 1, 2, 3, 75
"""Exit codes: our fault, the user's mistake, a check failed, stopped and resumable."""

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""What Ctrl-C, a cluster's end of time, SLURM's `--signal=USR1@60` before it, and a closed terminal
send."""

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class UserError(ValueError):
    """A mistake the user can mend: shown as one line without a traceback, exit code 2."""


class CheckFailed(Exception):
    """A check's answer is no: shown as one line, exit code 3."""


class Stopped(Exception):
    """Work was interrupted after its state was saved: the same command goes on, exit code 75."""


class JobFailed(Exception):
    """A job of a sweep failed: `line` says how, in words, and `code` as an exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line, code)
        self.line, self.code = line, code


def require(module: str, extra: str) -> None:
    """Raise a UserError that says what to install if `module` of optional `extra` is absent."""
    if find_spec(module) is None:
        raise UserError(
            f"the package {module!r} is not installed; type: pip install 'dmtool[{extra}]'"
        )


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what was raised within it into one line on stderr and an exit code.

    A fault of ours keeps its traceback. SystemExit passes Hydra's own handlers untouched.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        code, line = verdict(error)
        say(traceback.format_exc() if code == FAULT else f"dmtool: {line}", error=True)
        raise SystemExit(code) from error


def verdict(error: BaseException) -> tuple[int, str]:
    """The exit code that an error stands for, and the line that says so."""
    if isinstance(error, UserError):
        return MISTAKE, str(error)
    if isinstance(error, CheckFailed):
        return FAILED, str(error)
    if isinstance(error, Stopped):
        return RESUMABLE, str(error)
    if isinstance(error, KeyboardInterrupt):
        return RESUMABLE, "interrupted; the same command goes on from what was saved"
    if _disk_full(error):
        return RESUMABLE, f"the disk is full, earlier checkpoints are kept: {error}"
    return FAULT, f"{type(error).__name__}: {error}"


def interruptible() -> None:
    """Let all signals to stop end the work as Ctrl-C does, until somebody knows better."""
    for number in heard():
        signal.signal(number, interrupt)


def heard() -> list[signal.Signals]:
    """The signals to stop, without SIGHUP where the process is to outlive its terminal (nohup)."""
    return [
        number
        for number in STOPS
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]


def interrupt(number: int, frame: FrameType | None) -> None:
    """End the work, once: whoever sends a signal again does not wait for its cleaning up."""
    for each in heard():
        signal.signal(each, _leave)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(RESUMABLE)


def _disk_full(error: BaseException) -> bool:
    """Also as Rust's libraries (safetensors, tokenizers) report it, by text alone."""
    number = getattr(error, "errno", None)
    return number in DISK_FULL or any(f"(os error {code})" in str(error) for code in DISK_FULL)
