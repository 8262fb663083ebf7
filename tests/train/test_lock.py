"""One training of a stage at a time, and a dead one keeps nobody waiting."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from dmtool.config import compose
from dmtool.config.stages import TrainVae
from dmtool.config.validation import validate
from dmtool.errors import UserError
from dmtool.train import lock, stages

WORDS = [
    "data=shapes", "data.count=40", "data.size=16", "data.val=0.2", "resolution=16", "run=r",
    "vae.widths=[8]", "vae.groups=8", "batch_size=8", "limit.minutes=null", "every.log=8",
    "every.checkpoint=80", "every.validate=1000000", "every.preview=1000000", "held_out=2",
]  # fmt: skip


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lock, "SILENT", 0.4)
    monkeypatch.setattr(lock, "BEAT", 0.1)
    monkeypatch.setattr(lock, "GRACE", 0.1)


def written(folder, owner, age=0.0):
    """A lock file that somebody left, renewed so many seconds ago."""
    path = folder / lock.NAME
    path.write_text(owner if isinstance(owner, str) else json.dumps(asdict(owner)))
    os.utime(path, (time.time() - age,) * 2)
    return path


def train(*words):
    """`dmtool train-vae`, in this process."""
    stages.train(validate(compose.composed("train_vae", [*WORDS, *words]), TrainVae))


def test_a_second_training_is_refused_and_a_killed_one_leaves_the_way_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "dmtool", "train-vae", *WORDS, "limit.pictures=1000000"]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    stage = tmp_path / "runs/r/vae"
    while not any((stage / "checkpoints").glob("[0-9]*")):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.02)
    with pytest.raises(UserError, match=f"by process {first.pid} on {platform.node()}: wait"):
        train("limit.pictures=2000000")
    assert first.poll() is None
    first.kill()
    first.wait()
    began, seen = time.monotonic(), logged(stage)[-1]
    train(f"limit.pictures={seen + 80}")
    assert time.monotonic() - began < lock.SILENT
    points = logged(stage)
    assert len(points) == len(set(points)) and points[-1] == seen + 80
    assert not list(stage.glob("*lock*"))


def logged(stage):
    """The numbers of pictures at which there is a loss."""
    lines = (stage / "metrics.jsonl").read_text().splitlines()
    return [line["pictures"] for line in map(json.loads, lines) if "loss" in line]


def test_it_is_renewed_while_it_is_held_and_gone_after(tmp_path, quick):
    path = tmp_path / lock.NAME
    with lock.held(tmp_path):
        os.utime(path, (1, 1))
        again = lock.held(tmp_path)
        with pytest.raises(UserError, match=f"trained by process {os.getpid()} on"), again:
            raise AssertionError
        until = time.monotonic() + 5
        while path.stat().st_mtime < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert path.stat().st_mtime > 2
        path.unlink()  # by a user who cleans up
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert path.exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("pid", [0, -1, 2**31, 10**40])
def test_a_number_that_no_process_has_keeps_nobody_waiting(tmp_path, quick, pid):
    written(tmp_path, replace(lock._me(), pid=pid), age=1)
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("owner", ["a process that has ended", "a younger one of that number"])
def test_a_dead_process_of_this_machine(tmp_path, quick, owner):
    me = lock._me()
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = {"a process that has ended": replace(me, pid=ended.pid)}
    written(tmp_path, dead.get(owner, replace(me, born=me.born - 100)))
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()


def test_a_zombie_is_dead(tmp_path):
    child = subprocess.Popen(["true"])
    owner = replace(lock._me(), pid=child.pid, born=lock.psutil.Process(child.pid).create_time())
    while lock.psutil.Process(child.pid).status() != "zombie":
        time.sleep(0.01)
    written(tmp_path, owner)
    with lock.held(tmp_path):
        pass
    child.wait()


NO_TIME = '{"host": "b", "place": "b 1", "pid": 7, "born": NaN, "token": ""}'  # is not itself


@pytest.mark.parametrize("content", [None, "", "[]", '{"host": 3}', "[" * 5000, NO_TIME])
def test_another_machines_is_taken_over_by_age(tmp_path, content):
    """Or one that cannot be read. An old one at once: `SILENT` is a minute here."""
    elsewhere = replace(lock._me(), host="node-b", place="node-b 1")
    written(tmp_path, elsewhere if content is None else content, age=lock.SILENT + 5)
    began = time.monotonic()
    with lock.held(tmp_path):
        assert time.monotonic() - began < 10


def test_another_machines_is_watched(tmp_path, quick, capsys):
    elsewhere = replace(lock._me(), host="node-b", place="node-b 1", pid=7)
    path = written(tmp_path, elsewhere)
    stop = threading.Event()

    def live():
        while not stop.wait(0.1):
            os.utime(path)

    beats = threading.Thread(target=live)
    beats.start()
    with pytest.raises(UserError, match=r"trained by process 7 on node-b"), lock.held(tmp_path):
        raise AssertionError
    stop.set()
    beats.join()
    with lock.held(tmp_path):  # it is silent now
        pass
    assert "waiting for a sign of life from process 7 on node-b" in capsys.readouterr().err


def test_who_is_robbed_of_it_ends(tmp_path):
    """Its machine slept, and another one took the run over."""
    code = (
        "import sys, time; from pathlib import Path; from dmtool.train import lock;"
        "lock.BEAT = lock.GRACE = 0.05\n"
        f"with lock.held(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    path = written(tmp_path, replace(lock._me(), host="node-b", pid=7))
    assert process.wait(timeout=30) == 75
    assert "was taken over by process 7 on node-b" in process.stderr.read()
    assert json.loads(path.read_text())["host"] == "node-b"
