"""A run that was stopped and goes on ends with the very same weights, bit for bit on a CPU."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dmtool.errors import RESUMABLE

PIXELS = [
    "data=shapes", "data.count=40", "data.size=16", "resolution=16", "codec=pixels",
    "text=scratch", "text.width=32", "text.depth=1", "text.max_length=64", "noise=cosine",
    "unet.widths=[32,32]", "unet.blocks=[1,1]", "unet.patch=2", "unet.depths=[0,1]",
    "unet.middle_depth=0", "unet.groups=8", "unet.heads=2", "unet.text_width=null",
    "unet.dropout=0.1", "batch_size=8", "accumulation=2", "limit.minutes=null",
    "limit.pictures=480", "every.log=8", "every.checkpoint=160", "every.preview=100000",
    "every.validate=100000", "optim=muon", "every.snapshot=24", "ema=exponential",
    "ema.half_life=100",
]  # fmt: skip


BEST = ["keep.best=val_loss", "keep.last=1", "keep.every=150", "every.validate=80", "held_out=8"]


def weights(home, run, artifact="default"):
    return (home / f"runs/{run}/unet/artifacts/{artifact}/model.safetensors").read_bytes()


def averages(home, run):
    """All three averages in the newest checkpoint, and all snapshots of two, as bytes by file."""
    folder = home / f"runs/{run}/unet"
    files = sorted(folder.glob("checkpoints/*/ema.safetensors"))[-1:]
    files += sorted(folder.glob("snapshots/*/*.safetensors"))
    assert len(files) > 20
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def lines(home, run):
    return (home / f"runs/{run}/unet/metrics.jsonl").read_text().splitlines()


def start(home, *words):
    """The command line as a process in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dmtool", *words],
        cwd=home, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(dmtool, tmp_path_factory):
    """Where the run `straight` stands: never interrupted."""
    path = tmp_path_factory.mktemp("home")
    dmtool("train-unet", "run=straight", *PIXELS, *BEST, cwd=path)
    return path


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP]


def test_interrupted_by_each_signal_and_resumed_equals_uninterrupted(dmtool, home):
    """Signals go to the workers that load data as well, as Ctrl-C and SLURM send them."""
    words = ["train-unet", "run=stopped", *PIXELS, *BEST, "data.workers=1"]
    metrics, seen = home / "runs/stopped/unet/metrics.jsonl", 0
    for number in SIGNALS:
        process = start(home, *words)
        while not metrics.exists() or len(lines(home, "stopped")) < seen + 3:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == RESUMABLE and "the same command goes on" in errors
        assert seen < len(lines(home, "stopped")) < len(lines(home, "straight"))
        seen = len(lines(home, "stopped"))
    done = dmtool(*words, cwd=home)
    assert "going on from" in done.stderr + done.stdout
    for artifact in ("default", "best"):
        assert weights(home, "straight", artifact) == weights(home, "stopped", artifact)
    assert averages(home, "straight") == averages(home, "stopped")
    assert len(lines(home, "stopped")) == len(lines(home, "straight"))


def test_the_best_by_the_held_out_figure_is_exported_and_its_checkpoint_kept(home):
    figures = [json.loads(line) for line in lines(home, "straight") if "val_loss" in line]
    best = min(figures, key=lambda line: line["val_loss"])
    stage = home / "runs/straight/unet"
    card = json.loads((stage / "artifacts/best/card.json").read_text())
    assert card["pictures_seen"] == best["pictures"]
    assert card["metrics"] == {"val_loss": best["val_loss"]}
    kept = {int(path.name) for path in (stage / "checkpoints").iterdir()}
    assert kept == {160, 320, 480, best["pictures"]}


def test_a_longer_limit_extends_a_finished_run_and_damage_is_passed_over(dmtool, tmp_path):
    words = [word for word in PIXELS if "pictures=480" not in word] + ["optim.schedule=constant"]
    dmtool("train-unet", "run=straight", *words, "limit.pictures=328", cwd=tmp_path)
    dmtool("train-unet", "run=r", *words, "limit.pictures=320", cwd=tmp_path)
    newest = max((tmp_path / "runs/r/unet/checkpoints").iterdir())
    (newest / "model.safetensors").write_bytes(b"damaged")
    done = dmtool("train-unet", "run=r", *words, "limit.pictures=328", cwd=tmp_path)
    assert "cannot be used" in done.stderr and "going on from 160" in done.stderr + done.stdout
    assert weights(tmp_path, "straight") == weights(tmp_path, "r")


@pytest.mark.slow
@pytest.mark.parametrize("words", ["optim=adamw", "optim.matrices=all", "optim=schedule_free"])
def test_every_optimizer_goes_on_alike_however_often_it_is_looked_at(dmtool, tmp_path, words):
    """The resumed run is validated and previewed more often, and computed with checkpoints."""
    changed = ("limit.pictures", words.partition("=")[0] + "=")
    short = [word for word in PIXELS if not word.startswith(changed)] + [words, "optim.warmup=80"]
    short.append("limit.pictures=240")
    often = ["every.validate=16", "held_out=4", "every.preview=80", "compute.checkpointing=true"]
    dmtool("train-unet", "run=straight", *short, cwd=tmp_path)
    process = start(tmp_path, "train-unet", "run=r", *short)
    checkpoint = tmp_path / "runs/r/unet/checkpoints/000000000160"
    while not checkpoint.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    dmtool("train-unet", "run=r", *short, *often, cwd=tmp_path)
    assert weights(tmp_path, "straight") == weights(tmp_path, "r")


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(dmtool, tmp_path):
    from safetensors.torch import load_file

    words = [word for word in PIXELS if "dropout" not in word] + ["dtype=fp32", "seed=1"]
    dmtool("train-unet", "run=one", *words, cwd=tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "dmtool"]
    subprocess.run([*launch, "train-unet", "run=two", *words], cwd=tmp_path, check=True)
    path = "runs/{}/unet/artifacts/default/model.safetensors"
    one, two = (load_file(tmp_path / path.format(run)) for run in ("one", "two"))
    for name, tensor in one.items():
        assert (tensor - two[name]).norm() <= 1e-3 * tensor.norm() + 1e-6, name
