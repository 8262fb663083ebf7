"""A training killed at random moments, in starting, caching, steps and saving, loses nothing."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dmtool.errors import RESUMABLE

KILLS = 20
VAE = [
    "train-vae", "data=shapes", "data.count=400", "data.size=16", "resolution=16",
    "vae.widths=[16]", "vae.groups=8", "batch_size=8", "limit.minutes=null", "limit.pictures=80",
]  # fmt: skip
UNET = [
    "train-unet", "data=shapes", "data.count=400", "data.size=16", "text=scratch",
    "text.width=32", "text.depth=1", "text.max_length=64", "unet.widths=[32,32]", "unet.patch=1",
    "unet.blocks=[1,1]", "unet.depths=[0,1]", "unet.middle_depth=0", "unet.groups=8",
    "unet.heads=2", "unet.text_width=null", "unet.dropout=0.1", "batch_size=8",
    "limit.minutes=null", "limit.pictures=4800", "every.log=8", "every.checkpoint=80",
    "every.validate=400", "every.preview=100000", "held_out=16", "keep.best=val_loss",
    "keep.every=1600",
]  # fmt: skip


def content(stage):
    """The artifacts' weights and the newest checkpoint, byte for byte but for the clock."""
    newest = max((stage / "checkpoints").iterdir())
    files = [*stage.glob("artifacts/*/model.safetensors"), *newest.glob("*.safetensors")]
    return {str(file.relative_to(stage)): file.read_bytes() for file in files}


def reached(moment, stage, cache, began):
    """Whether a training that began at that time has come to a moment of this kind."""
    if moment == "caching":
        return any(path.stat().st_mtime > began for path in cache.glob("latents/*"))
    if moment == "saving":
        return any(stage.glob("*/.*.partial"))
    metrics = stage / "metrics.jsonl"
    stepping = metrics.exists() and metrics.stat().st_mtime > began + 2
    return moment == "starting" or stepping


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_at_random_moments(dmtool, tmp_path, monkeypatch, number):
    cache = tmp_path / "cache"
    monkeypatch.setenv("DMTOOL_CACHE", str(cache))
    dmtool(*VAE, "run=straight", cwd=tmp_path)
    shutil.copytree(tmp_path / "runs/straight", tmp_path / "runs/killed")
    dmtool(*UNET, "run=straight", cwd=tmp_path)
    whole, stage = content(tmp_path / "runs/straight/unet"), tmp_path / "runs/killed/unet"
    assert len(whole) == 5
    chance, moments = random.Random(int(number)), ["starting", "caching", "stepping", "saving"]
    codes = []
    while len(codes) < KILLS:
        moment = moments[len(codes) % len(moments)]
        if moment == "caching":
            shutil.rmtree(cache / "latents", ignore_errors=True)
        began = time.time()
        command = [sys.executable, "-m", "dmtool", *UNET, "run=killed"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        while process.poll() is None and not reached(moment, stage, cache, began):
            time.sleep(0.001)
        delay = {"starting": 6, "caching": 0.1, "stepping": 1, "saving": 0.01}[moment]
        time.sleep(chance.uniform(0, delay))
        process.send_signal(number)
        code = process.wait()
        if code == 0:  # it was faster: look, and begin anew
            assert content(stage) == whole
            shutil.rmtree(stage)
            continue
        codes.append(code)
    stopped = {-signal.SIGKILL} if number == signal.SIGKILL else {RESUMABLE}
    assert set(codes) == stopped
    dmtool(*UNET, "run=killed", cwd=tmp_path)
    assert content(stage) == whole
    litter = [path for path in stage.rglob(".*") if path.name != ".hydra"]
    assert not litter and os.listdir(stage / "checkpoints")
