"""What is shipped to launch several processes, as far as it works without GPUs and a cluster."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dmtool.errors import MISTAKE, RESUMABLE

SCRIPTS = Path(__file__).parents[1] / "scripts"
VAE = [
    "train-vae", "data=shapes", "data.count=40", "data.size=16", "resolution=16",
    "vae.widths=[16]", "vae.groups=8", "batch_size=8", "limit.minutes=null", "device=cpu",
]  # fmt: skip
SRUN = """#!/usr/bin/env bash
codes=0
for i in 0 1; do SLURM_NTASKS=2 SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & pids[$i]=$!; done
echo "${pids[@]}" > tasks
for pid in "${pids[@]}"; do
    wait "$pid" || { code=$?; [ "$code" -gt "$codes" ] && codes=$code; }
done
exit "$codes"
"""
SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then echo localhost; else echo "$@" > asked; fi
"""


@pytest.fixture
def environment(tmp_path):
    """A place with SLURM's two commands: two tasks on this machine."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": sys.executable, "PORT": str(port),
        "SLURM_JOB_ID": str(port), "SLURM_JOB_NODELIST": "x", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


@pytest.mark.slow
def test_slurm_saves_at_the_warning_and_is_queued_again(tmp_path, environment):
    words = ["bash", SCRIPTS / "slurm.sh", *VAE, "run=s", "every.log=8"]
    job = subprocess.Popen([*words, "limit.pictures=1000000"], cwd=tmp_path, env=environment)
    lines = tmp_path / "runs/s/vae/metrics.jsonl"
    while not (lines.exists() and lines.read_text()):
        assert job.poll() is None
        time.sleep(0.1)
    for pid in (tmp_path / "tasks").read_text().split():
        os.kill(int(pid), signal.SIGUSR1)
    assert job.wait(300) == RESUMABLE
    assert (tmp_path / "asked").read_text().split() == ["requeue", environment["SLURM_JOB_ID"]]
    (saved,) = (tmp_path / "runs/s/vae/checkpoints").iterdir()
    (tmp_path / "asked").unlink()
    more = f"limit.pictures={int(saved.name) + 16}"
    subprocess.run([*words, more], cwd=tmp_path, env=environment, check=True, timeout=300)
    assert not (tmp_path / "asked").exists()


@pytest.mark.slow
def test_torchrun_over_two_nodes(tmp_path, environment):
    words = ["bash", SCRIPTS / "torchrun.sh", *VAE, "run=t", "limit.pictures=32"]
    nodes = {"NODES": "2", "HEAD": "localhost", "PROCESSES": "1"}
    both = [
        subprocess.Popen(words, cwd=tmp_path, env=environment | nodes | {"NODE": str(i)})
        for i in range(2)
    ]
    assert [node.wait(300) for node in both] == [0, 0]
    assert (tmp_path / "runs/t/vae/artifacts/default").is_dir()


@pytest.mark.slow
def test_accelerate_on_cpus_starts_two(tmp_path, environment):
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file",
              SCRIPTS / "accelerate/cpu.yaml", "-m", "dmtool", *VAE, "run=a"]  # fmt: skip
    call = {"cwd": tmp_path, "env": environment, "timeout": 300, "capture_output": True}
    done = subprocess.run([*launch, "limit.pictures=32"], **call)
    assert done.returncode == 0 and (tmp_path / "runs/a/vae/artifacts/default").is_dir()
    done = subprocess.run([*launch, "limit.pictures=32", "run=b", "batch_size=7"], **call)
    assert done.stderr.count(b"batch_size=7 is not divisible by accumulation x processes = 1 x 2")


@pytest.mark.slow
def test_joblib_trains_side_by_side_and_a_failed_job_is_not_passed_over(dmtool, tmp_path):
    words = [VAE[0], "-m", *VAE[1:], "hydra/launcher=joblib", "hydra.launcher.n_jobs=3", "run=j",
             "limit.pictures=16", "resolution=17,16,20"]  # fmt: skip
    done = dmtool(*words, cwd=tmp_path, code=MISTAKE)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("dmtool: job 0 of the sweep failed: a size of 17 pixels is not divis")
    for job in (1, 2):
        assert (tmp_path / f"runs/j-{job}/vae/artifacts/default").is_dir()
    assert not (tmp_path / "runs/j-0").exists()
    shutil.rmtree(tmp_path / "runs")
    words[-1] = "seed=1,2"
    dmtool(*words, cwd=tmp_path)
    assert sorted(path.name for path in (tmp_path / "runs").glob("j-*")) == ["j-0", "j-1"]
