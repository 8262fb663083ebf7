"""Several processes of one command: what they share out, and how they end together."""

import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from dmtool.errors import FAULT, MISTAKE, RESUMABLE

SCRIPT = """
import sys, time
import dmtool.cli
import torch
from dmtool import processes
from dmtool.errors import UserError, exit_codes

what, timeout = sys.argv[1], float(sys.argv[2])
with exit_codes(), processes.started(torch.device("cpu"), timeout) as group:
    if what == "share":
        for n in (0, 1, 5):
            items = list(range(n))
            merged = group.merge([10 * i for i in group.share(items)])
            assert merged == ([10 * i for i in items] if group.main else []), merged
        assert group.on_main(lambda: {"rank": group.rank}) == {"rank": 0}
        assert group.largest(torch.tensor([float(group.rank)])).item() == group.world - 1
        group.wait()
        if group.rank == group.world - 1:
            raise UserError("this picture cannot be read")
        time.sleep(60)
    if what == "same":
        raise UserError("said by all")
    if what == "fault" and group.rank == 1:
        1 / 0
    print("ready", flush=True)
    for step in range(10 ** 9):
        if what == "stall" and group.rank == 1 and step == 9:
            time.sleep(60)
        group.mark()
        group.largest(torch.zeros(1))
        time.sleep(0.01)
"""


def start(words, world, **options):
    """The processes that a launcher would have started, on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = []
    for rank in range(world):
        mine = {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        env = os.environ | shared | mine
        processes.append(subprocess.Popen([sys.executable, *words], env=env, **pipes, **options))
    return processes


def ends(processes, timeout=120):
    """(exit code, last line of stderr) of each; none is left."""
    try:
        found = [process.communicate(timeout=timeout)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    lines = [(text.strip().splitlines() or [""])[-1] for text in found]
    return [(process.returncode, line) for process, line in zip(processes, lines, strict=True)]


def test_shares_are_disjoint_and_an_error_on_one_ends_all_with_its_name():
    found = ends(start(["-c", SCRIPT, "share", "60"], 2))
    assert [code for code, _ in found] == [MISTAKE] * 2
    name = r"dmtool: rank 1 of 2 \(\S+, pid \d+\)"
    assert re.fullmatch(f"{name} ended: this picture cannot be read", found[0][1])
    assert re.fullmatch(f"{name}: this picture cannot be read", found[1][1])


@pytest.mark.parametrize(("lost", "number"), [
    (1, signal.SIGKILL),
    pytest.param(0, signal.SIGKILL, marks=pytest.mark.slow),
    pytest.param(1, signal.SIGSTOP, marks=pytest.mark.slow),
    pytest.param(0, signal.SIGSTOP, marks=pytest.mark.slow),
])  # fmt: skip
def test_the_others_end_with_the_name_of_the_lost_one(lost, number):
    timeout = "10" if number == signal.SIGSTOP else "60"
    processes = start(["-c", SCRIPT, "steps", timeout], 2)
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    processes[lost].send_signal(number)
    killed, began = processes.pop(lost), time.monotonic()
    try:
        [(code, line)] = ends(processes)
    finally:
        killed.kill()
        killed.communicate()
    assert time.monotonic() - began < 30
    assert code == RESUMABLE
    assert f"rank {lost} of 2" in line and f"pid {killed.pid}" in line and "was lost" in line


@pytest.mark.slow
@pytest.mark.parametrize(("what", "code", "lines"), [
    ("same", MISTAKE, ["dmtool: said by all", ""]),
    ("fault", FAULT, ["rank 1 of 2 .* ended: ZeroDivisionError", "ZeroDivisionError"]),
    ("stall", RESUMABLE, ["rank 1 of 2 .* stood still"] * 2),
])  # fmt: skip
def test_other_ends(what, code, lines):
    found = ends(start(["-c", SCRIPT, what, "10"], 2))
    assert [each for each, _ in found] == [code] * 2
    assert all(re.search(line, said) for line, (_, said) in zip(lines, found, strict=True)), found


@pytest.mark.slow
def test_a_training_whose_rank_is_killed_in_mid_step_goes_on_afterwards(tmp_path):
    words = ["-m", "dmtool", "train-vae", "data=shapes", "data.count=40", "data.size=16",
             "resolution=16", "vae.widths=[16]", "vae.groups=8", "batch_size=8", "device=cpu",
             "limit.minutes=null", "every.log=8", "every.checkpoint=80", "timeout=30"]  # fmt: skip
    processes = start([*words, "limit.pictures=10000000"], 2, cwd=tmp_path)
    checkpoints = tmp_path / "runs/default/vae/checkpoints"
    while not list(checkpoints.glob("[0-9]*")):
        assert processes[1].poll() is None
        time.sleep(0.05)
    killed = processes.pop()
    killed.kill()
    killed.communicate()
    [(code, line)] = ends(processes)
    assert code == RESUMABLE
    assert f"rank 1 of 2 ({platform.node()}, pid {killed.pid}) was lost" in line
    (saved, *_) = sorted(checkpoints.glob("[0-9]*"), reverse=True)
    more = f"limit.pictures={int(saved.name) + 16}"
    found = ends(start([*words, more], 2, cwd=tmp_path), timeout=600)
    assert [code for code, _ in found] == [0, 0]
