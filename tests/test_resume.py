"""A run that was stopped and goes on ends with the very same weights, bit for bit on a CPU."""

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
    "unet.middle_depth=0", "unet.groups=8", "unet.heads=2", "unet.text_width=null", "unet.dropout=0.1", "batch_size=8",
    "accumulation=2", "limit.minutes=null", "limit.pictures=480", "every.log=8",
    "every.checkpoint=160", "every.preview=100000", "every.validate=100000", "optim=muon",
]  # fmt: skip


def weights(home, run):
    return (home / f"runs/{run}/unet/artifacts/default/model.safetensors").read_bytes()


def test_interrupted_and_resumed_equals_uninterrupted(dmtool, tmp_path):
    dmtool("train-unet", "run=straight", *PIXELS, cwd=tmp_path)
    words = [sys.executable, "-m", "dmtool", "train-unet", "run=broken", *PIXELS]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "runs/broken/unet/metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == RESUMABLE and "the same command goes on" in errors
    stopped = metrics.read_text().splitlines()
    assert len(stopped) < 60
    done = dmtool("train-unet", "run=broken", *PIXELS, cwd=tmp_path)
    assert "going on from" in done.stderr + done.stdout
    assert weights(tmp_path, "straight") == weights(tmp_path, "broken")
    assert len(metrics.read_text().splitlines()) == len(
        (tmp_path / "runs/straight/unet/metrics.jsonl").read_text().splitlines()
    )


def test_a_damaged_newest_checkpoint_is_passed_over(dmtool, tmp_path):
    first = [word for word in PIXELS if "pictures=480" not in word] + ["optim.schedule=constant"]
    dmtool("train-unet", "run=r", *first, "limit.pictures=320", cwd=tmp_path)
    newest = max((tmp_path / "runs/r/unet/checkpoints").iterdir())
    (newest / "model.safetensors").write_bytes(b"damaged")
    done = dmtool("train-unet", "run=r", *first, "limit.pictures=328", cwd=tmp_path)
    assert "cannot be used" in done.stderr and "going on from 160" in done.stderr + done.stdout


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
