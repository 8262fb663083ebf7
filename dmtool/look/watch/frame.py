"""One screen of `dmtool watch`: a status line, curves, and the latest preview."""

from __future__ import annotations

from itertools import zip_longest

from tqdm import tqdm

from dmtool.look.watch.picture import RESET, blocks
from dmtool.look.watch.plot import panel
from dmtool.look.watch.state import StageStatus
from dmtool.look.watch.terminal import Terminal
from dmtool.runs import metrics
from dmtool.say import shown

NARROWEST, LOWEST = 34, 5  # of a panel, in characters
BESIDE = 72  # columns from which the preview stands at the curves' side
SHARE = 0.42  # of the screen, for the preview


def frame(status: StageStatus, terminal: Terminal) -> list[str]:
    """At most `height - 1` lines: a cursor may stand below them."""
    head = _head(status, terminal)
    room = terminal.height - 1 - len(head)
    preview = status.preview()
    if preview is None:
        return head + _panels(status, terminal.width, room, terminal.unicode)
    path, image = preview
    where = shown(path)[-terminal.width :]
    if terminal.colours == "none" or not terminal.unicode:
        return [*head, *_panels(status, terminal.width, room - 1, terminal.unicode), where]
    if terminal.width >= BESIDE:
        columns = int(terminal.width * SHARE)
        picture = [where[-columns:], *blocks(image, columns, room - 1, terminal.colours)]
        left = terminal.width - columns - 2
        return head + _beside(_panels(status, left, room, True), picture, left + 2)
    rows = int(room * SHARE)
    picture = blocks(image, terminal.width, rows, terminal.colours)
    return [*head, *_panels(status, terminal.width, room - len(picture), True), *picture]


def _head(status: StageStatus, terminal: Terminal) -> list[str]:
    """The status, and a line for what is wrong."""
    last, name = status.lines[-1], shown(f"{status.folder.parent.name}/{status.folder.name}")
    spent = tqdm.format_interval(last["seconds"])
    first = f"{name}: {_state(status)}, {last['pictures']:,} pictures in {spent}"
    wrong = []
    if status.alert:
        wrong.append(f"ALERT: {shown(status.alert)}")
    if status.silent:
        wrong.append(f"SILENT for {tqdm.format_interval(status.age)}: stopped, killed or hanging")
    strong = ("\x1b[1;31m", RESET) if terminal.colours != "none" else ("", "")
    return [first[: terminal.width], *(f"{line[: terminal.width]}".join(strong) for line in wrong)]


def _state(status: StageStatus) -> str:
    if status.complete:
        return "trained"
    written = "" if status.silent else f", a line {tqdm.format_interval(status.age)} ago"
    last = status.lines[-1]
    return f"{status.fraction(last['pictures'], last['seconds']):.0%}{written}"


def _panels(status: StageStatus, width: int, height: int, unicode: bool) -> list[str]:
    """As many figures as there is room for, in a grid."""
    columns, rows = max(1, width // NARROWEST), max(1, height // LOWEST)
    names = metrics.names(status.lines)[: columns * rows]
    if not names:
        return []
    columns = min(columns, -(-len(names) // min(rows, len(names))))
    rows = -(-len(names) // columns)
    wide, high = width // columns, max(2, height // rows)
    end = max(1, *(line["pictures"] for line in status.lines))
    drawn = [
        panel(shown(name), metrics.series(status.lines, name), end, wide - 1, high, unicode)
        for name in names
    ]
    lines: list[str] = []
    for start in range(0, len(drawn), columns):
        row = zip_longest(*drawn[start : start + columns], fillvalue="")
        lines += ["".join(cell.ljust(wide) for cell in cells).rstrip() for cells in row]
    return lines[:height]


def _beside(left: list[str], right: list[str], at: int) -> list[str]:
    return [f"{a.ljust(at)}{b}" for a, b in zip_longest(left, right, fillvalue="")]
