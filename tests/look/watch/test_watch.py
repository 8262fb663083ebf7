"""What `dmtool watch` draws, decoded again; what it says of runs in all their states."""

import json
import os
import re
import time

import numpy as np
import pytest
from cards import PREDICTOR
from PIL import Image

from dmtool import runs
from dmtool.errors import UserError
from dmtool.look.watch import live, state, terminal
from dmtool.look.watch.picture import blocks
from dmtool.look.watch.plot import BRAILLE, LABEL, panel
from dmtool.look.watch.terminal import Terminal

COLOR = r"(2;\d+;\d+;\d+|5;\d+)"
CELL = re.compile(rf"(?:\x1b\[38;{COLOR};48;{COLOR}m)?▀")
ESCAPE = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")


def color(code):
    """RGB of '2;r;g;b', or of '5;i' in the palette's cube of six levels an axis."""
    kind, *numbers = map(int, code.split(";"))
    if kind == 2:
        return numbers
    levels = [0, 95, 135, 175, 215, 255]
    return [levels[(numbers[0] - 16) // each % 6] for each in (36, 6, 1)]


def decoded(lines):
    """The pixels [H, W, 3] that a terminal would show."""
    rows = []
    for line in lines:
        for group in (1, 2):
            row, now = [], None
            for cell in CELL.finditer(line):
                now = color(cell[group]) if cell[group] else now
                row.append(now)
            rows.append(row)
        assert line.endswith("\x1b[0m")
    return np.array(rows)


@pytest.mark.parametrize(("colours", "off"), [("true", 0), ("256", 48)])
def test_a_picture_is_shown_in_its_colours_and_shape(colours, off):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 30, 3), dtype=np.uint8))
    assert np.abs(decoded(blocks(image, 30, 99, colours)) - np.asarray(image)).max() <= off
    small = decoded(blocks(image.resize((300, 120)), 40, 4, colours))
    assert small.shape == (8, 20, 3), "four lines are eight pixels; 300 x 120 stays 5 : 2"


@pytest.mark.parametrize("unicode", [True, False])
def test_a_curve_is_where_its_values_are(unicode):
    xs = np.linspace(0, 1000, 60)
    ys = 3 + np.cos(xs / 150)
    lines = panel("loss", list(zip(xs, ys, strict=True)), 1000, 70, 12, unicode)
    assert len(lines) == 12 and max(map(len, lines)) <= 70
    assert lines[0] == f"loss {ys[-1]:.3g}"
    assert float(lines[1][:LABEL]) == pytest.approx(ys.max(), rel=5e-3)
    assert float(lines[-1][:LABEL]) == pytest.approx(ys.min(), rel=5e-3)
    per_column, per_row = (2, 4) if unicode else (1, 2)
    seen = {}
    for i, line in enumerate(lines[1:]):
        for j, character in enumerate(line[LABEL + 2 :]):
            for x, y in dots(character):
                seen.setdefault(j * per_column + x, []).append(i * per_row + y)
    width, height = 60 * per_column, 11 * per_row
    assert set(seen) == set(range(width))
    for x, rows in seen.items():
        value = ys.max() - np.mean(rows) / (height - 1) * np.ptp(ys)
        assert value == pytest.approx(3 + np.cos(x / (width - 1) * 1000 / 150), abs=0.12)


def dots(character):
    """(column, row) of a character's dots."""
    if ord(character) >= 0x2800:
        return [(x, y) for x in (0, 1) for y in range(4) if ord(character) - 0x2800 & BRAILLE[x][y]]
    return [(0, y) for y in {" ": (), "'": (0,), ".": (1,), ":": (0, 1)}[character]]


@pytest.fixture
def run(tmp_path):
    """A run of 30 lines with a preview and a cut last line, written just now."""
    folder = tmp_path / "runs/r/unet"
    (folder / "previews").mkdir(parents=True)
    (folder / "config.yaml").write_text("limit: {pictures: 60000, minutes: null}\n")
    Image.new("RGB", (60, 40), (200, 30, 30)).save(folder / "previews/000010000.png")
    (folder / "previews/000020000.png").write_bytes(b"\x89PNG half")
    figures = {"loss": 1.0, "lr": 1e-3, "pictures_per_second": 170.0, "grad_norm": 0.5}
    lines = [
        {"pictures": 1000 * i, "seconds": 5.0 * i, **figures, "val_loss": 2 / i}
        for i in range(1, 31)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"pictures": 31000, "los')
    return folder


def shown(capsys, monkeypatch, screen, *words):
    monkeypatch.setattr(terminal, "here", lambda: screen)
    live.once(*words)
    lines = capsys.readouterr().out.splitlines()
    bare = [ESCAPE.sub("", line) for line in lines]
    assert len(lines) < screen.height and max(map(len, bare)) <= screen.width
    return lines, bare


@pytest.mark.parametrize("size", [(80, 24), (160, 50), (60, 20)])
def test_a_frame_fits_the_screen(run, capsys, monkeypatch, size):
    root = str(run.parents[1])
    lines, bare = shown(capsys, monkeypatch, Terminal(*size, "true", True), "r", None, root)
    assert re.fullmatch(r"r/unet: 50%, a line 00:0\d ago, 30,000 pictures in 02:30", bare[0])
    text = "\n".join(bare)
    assert "loss 1" in text and "val_loss 0.0667 (log axis)" in text
    assert any("48;2;200;30;30m" in line for line in lines), "the newest whole preview"


def test_without_colours_and_characters_it_is_plain(run, capsys, monkeypatch):
    screen = Terminal(80, 24, "none", False)
    lines, _ = shown(capsys, monkeypatch, screen, str(run.parent), "unet", "elsewhere")
    assert "\n".join(lines).isascii() and "\x1b" not in "".join(lines)
    assert lines[-1].endswith("r/unet/previews/000010000.png")


@pytest.mark.parametrize("lines", [
    [{"pictures": 10**18, "loss": 2.0}, {"pictures": 30, "loss": 1.0}],
    [{"pictures": 0, "loss": 2.0}],
    [{"pictures": 10, "loss": 1e308}, {"pictures": 20, "loss": -1e308}],
    [{"pictures": 10, "alert": "stuck"}],
], ids=["out of order", "before the first", "far apart", "no figure"])  # fmt: skip
def test_strange_figures_are_drawn_at_once(run, capsys, monkeypatch, lines):
    text = "".join(f"{json.dumps({'seconds': 1.0, **line})}\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)
    began = time.monotonic()
    shown(capsys, monkeypatch, Terminal(80, 24, "none", True), "r", None, str(run.parents[1]))
    assert time.monotonic() - began < 5


def test_a_preview_larger_than_any_is_passed_over(run):
    Image.new("1", (8192, 8192)).save(run / "previews/000020000.png")
    path, image = state.look("r", "unet", str(run.parents[1])).preview()
    assert path.name == "000010000.png" and image.size == (60, 40)


def test_what_is_silent_has_alerted_or_is_trained_is_said(run, capsys, monkeypatch):
    screen, root = Terminal(120, 30, "none", True), str(run.parents[1])
    alert = {"pictures": 30000, "seconds": 150.0, "alert": "no step has ended for 600 s"}
    metrics = run / "metrics.jsonl"
    metrics.write_text(metrics.read_text().rsplit("\n", 1)[0] + f"\n{json.dumps(alert)}\n")
    _, bare = shown(capsys, monkeypatch, screen, "r", None, root)
    assert bare[1] == "ALERT: no step has ended for 600 s" and "SILENT" not in "".join(bare)
    old = time.time() - 3600
    os.utime(metrics, (old, old))
    _, bare = shown(capsys, monkeypatch, screen, "r", None, root)
    assert bare[2] == "SILENT for 1:00:00: stopped, killed or hanging"
    finish(run, 30000)
    _, bare = shown(capsys, monkeypatch, screen, "r", None, root)
    assert "trained" in bare[0] and "SILENT" not in "".join(bare)


def finish(run, pictures):
    """Export, as the end of a training does."""
    card = PREDICTOR | {"complete": True, "pictures_seen": pictures}
    runs.save(run / "artifacts/default", {}, card)


def test_frames_follow_the_run_and_end_with_it(run, capsys, monkeypatch):
    """It waits for a first line, shows what comes, and leaves the user's screen as it was."""
    screen, metrics = Terminal(100, 30, "true", True), run / "metrics.jsonl"
    monkeypatch.setattr(terminal, "here", lambda: screen)
    whole = metrics.read_text()
    metrics.unlink()
    acts = iter([lambda: metrics.write_text(whole), lambda: finish(run, 30000)])
    monkeypatch.setattr(time, "sleep", lambda seconds: next(acts)())
    live.live("r", "unet", str(run.parents[1]))
    out = capsys.readouterr().out
    frames, after = out.removeprefix(live.ENTER).split(live.LEAVE)
    first, second, third = frames.split(live.HOME)[1:]
    assert "has logged nothing yet" in first and " 50%, a line" in second and "trained" in third
    assert "trained" in after.splitlines()[0], "the last frame stays"


def test_what_is_missing_is_named(run, dmtool):
    home = run.parents[2]
    with pytest.raises(UserError, match=r"no run 'nope'.*runs here: r"):
        live.once("nope", None, str(home / "runs"))
    with pytest.raises(UserError, match=r"no stage 'vae'; there are: unet"):
        live.once("r", "vae", str(home / "runs"))
    (run / "metrics.jsonl").unlink()
    done = dmtool("watch", "r", cwd=home, code=2)
    assert "runs/r/unet has logged nothing yet" in done.stderr and len(done.stderr) < 120
