"""`dmtool watch`: the screen is drawn anew while the run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dmtool.look.watch import terminal
from dmtool.look.watch.frame import frame
from dmtool.look.watch.state import NothingYet, look
from dmtool.say import shown

PAUSE = 2.0  # seconds between frames
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # another screen, without a cursor
HOME, REST_OF_LINE, REST = "\x1b[H", "\x1b[K", "\x1b[J"


def once(run: str, stage: str | None, root: str) -> None:
    """Print one frame; UserError says what is missing."""
    print(*frame(look(run, stage, root), terminal.here()), sep="\n")


def live(run: str, stage: str | None, root: str) -> None:
    """Show frames until the stage is trained, or Ctrl-C; the last one stays on the screen."""
    with _screen():
        while not _show(run, stage, root):
            time.sleep(PAUSE)
    once(run, stage, root)


def _show(run: str, stage: str | None, root: str) -> bool:
    """Draw a frame over the one before; True if there will be no other."""
    try:
        status = look(run, stage, root)
    except NothingYet as error:
        lines, last = [shown(error)], False
    else:
        lines, last = frame(status, terminal.here()), status.complete
    sys.stdout.write(HOME + "".join(f"{line}{REST_OF_LINE}\n" for line in lines) + REST)
    sys.stdout.flush()
    return last


@contextmanager
def _screen() -> Iterator[None]:
    """The terminal's other screen, so that the user's own comes back; Ctrl-C ends it quietly."""
    sys.stdout.write(ENTER)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
