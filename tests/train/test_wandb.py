"""A server of Weights & Biases that accepts and never answers."""

import json
import socket

import pytest

VAE = [
    "train-vae", "data=shapes", "data.count=40", "data.size=16", "resolution=16",
    "vae.widths=[16]", "vae.groups=8", "batch_size=8", "limit.minutes=null", "limit.pictures=64",
    "every.log=8",
]  # fmt: skip


@pytest.mark.slow
def test_a_silent_server_does_not_stop_a_training(dmtool, tmp_path, monkeypatch):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        done = dmtool(*VAE, "run=w", "wandb.mode=online", "wandb.timeout=4", cwd=tmp_path)
    stage = tmp_path / "runs/w/vae"
    assert "wandb's server does not answer" in done.stdout + done.stderr
    assert list((stage / "wandb").glob("offline-run-*/*.wandb"))
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    assert [line["pictures"] for line in lines if "loss" in line] == list(range(8, 65, 8))


@pytest.mark.slow
def test_nobody_is_logged_in(dmtool, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = dmtool(*VAE, "run=w", "wandb.mode=online", cwd=tmp_path, code=2)
    assert "wandb login" in done.stderr.strip().splitlines()[-1]
