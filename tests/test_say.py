"""What reaches the user's terminal, and what happens when it does not."""

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dmtool as package
from dmtool.look.watch.frame import frame
from dmtool.look.watch.state import StageStatus
from dmtool.look.watch.terminal import Terminal
from dmtool.say import counted, say, shown

ROOT = Path(package.__file__).parent
NASTY = "a\x1b]0;title\x07\x1b[31mred\x9b2J\rover\u202egnp.exe\udcff"
HARMLESS = "a\\x1b]0;title\\x07\\x1b[31mred\\x9b2J\\rover\\u202egnp.exe\\udcff"


def test_nothing_that_a_terminal_obeys_is_printed(capsys):
    assert shown(NASTY) == HARMLESS
    plain = "größer\tred heart ❤️ 图片\nand a line"
    assert shown(plain) == plain
    say("one", NASTY)
    say(NASTY, "two", sep=" ", error=True)
    say()
    assert capsys.readouterr() == (f"one\n{HARMLESS}\n", f"{HARMLESS} two\n")


def test_one_is_singular():
    said = [counted(n, "picture") for n in (0, 1, 2000)]
    assert said == ["0 pictures", "1 picture", "2,000 pictures"]
    assert counted(1, "entry is", "entries are") == "1 entry is"
    assert counted(2, "entry is", "entries are") == "2 entries are"


def test_all_that_is_printed_goes_through_one_function():
    allowed = {"say.py", "look/watch/live.py"}  # the latter draws: its parts are cleaned one by one
    for path in ROOT.rglob("*.py"):
        called = {
            ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }  # fmt: skip
        found = called & {"print", "tqdm.write", "typer.echo", "traceback.print_exc"}
        assert not found or str(path.relative_to(ROOT)) in allowed, f"{path}: {found}"


def test_watch_draws_no_text_of_a_file_as_it_is(tmp_path):
    lines = [{"pictures": i, "seconds": 1.0 * i, NASTY: 1.0 * i} for i in (1, 2)]
    lines.append({"pictures": 2, "seconds": 2.0, "alert": NASTY})
    seen = StageStatus(
        tmp_path / NASTY[:-1], lines, {"limit": {"pictures": 9, "minutes": None}}, False, 0
    )
    drawn = "".join(frame(seen, Terminal(200, 40, "none", True)))
    assert "\x1b" not in drawn and "\x07" not in drawn and "\\x1b[31mred" in drawn


def closed():
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_output_that_nobody_reads_ends_nothing(tmp_path):
    """Listings end quietly; a training goes on, and its log is in the run."""
    command = [sys.executable, "-m", "dmtool"]
    done = subprocess.run([*command, "cache", "ls"], stdout=closed(), stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")
    words = ["train-vae", "run=r", "data=shapes", "data.count=24", "data.size=16", "resolution=16",
             "dtype=fp32", "batch_size=4", "every.log=4", "optim.warmup=0", "vae.widths=[16]",
             "vae.decoder_blocks=1", "vae.groups=8", "limit.minutes=null",
             "limit.pictures=12"]  # fmt: skip
    done = subprocess.run([*command, *words], cwd=tmp_path, stdout=closed(), stderr=closed())
    assert done.returncode == 0
    lines = (tmp_path / "runs/r/vae/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["pictures"] for line in lines if "loss" in line][:3] == [4, 8, 12]
    assert (tmp_path / "runs/r/vae/artifacts/default/card.json").is_file()


CLEANING = """
import time
from dmtool.errors import exit_codes, interruptible
with exit_codes():
    interruptible()
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("numbers", [[signal.SIGINT] * 5, [signal.SIGHUP, signal.SIGTERM]])
def test_whoever_asks_again_does_not_wait_and_sees_no_traceback(numbers):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CLEANING], **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(numbers[0])
        assert process.stdout.readline() == "cleaning\n"
        for number in numbers[1:]:
            process.send_signal(number)
        assert process.wait(20) == 75
        assert process.stderr.read() == ""


def test_a_process_that_is_to_outlive_its_terminal_does():
    code = CLEANING.replace("interruptible()", "interruptible(); time.sleep(0)")
    command = ["nohup", sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()
