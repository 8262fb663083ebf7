"""The command line. Typer owns the named options; all other words go to Hydra unchanged."""

import os
import re
import signal
import sys

from dmtool.cli import cache, evaluation, looking, sampling, streams, training
from dmtool.cli.app import app
from dmtool.errors import interrupt

__all__ = ["app", "cache", "evaluation", "looking", "main", "sampling", "training"]


def main() -> None:
    """The entry point. Output that nobody reads is dropped and ends nothing; the exit code tells of
    it, as pipes do, unless the command has another or trains."""
    streams.install()
    sys.argv[1:] = [re.sub("^(--[a-z-]+=)(~.*)", _at_home, word) for word in sys.argv[1:]]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    trains = sys.argv[1:2] != [] and sys.argv[1].startswith("train-")
    code: object = 0
    try:
        app()
    except SystemExit as end:
        code = end.code
    if streams.finish() and not code and not trains:
        code = streams.CUT_OFF
    raise SystemExit(code)


def _at_home(option: re.Match[str]) -> str:
    """What shells leave of --out=~/x as it is."""
    return option[1] + os.path.expanduser(option[2])
