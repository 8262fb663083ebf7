"""A training that hangs says so, once, where it hangs; and what a log without a terminal reads."""

import json
import re
import subprocess
import sys
import time

from dmtool.config import compose
from dmtool.config.stages import TrainVae
from dmtool.config.validation import validate
from dmtool.train import stages
from dmtool.train.stages import vae

TINY = ["data=shapes", "data.count=40", "data.size=16", "resolution=16", "vae.widths=[16]",
        "vae.groups=8", "batch_size=4", "limit.minutes=null", "limit.pictures=32", "every.log=8",
        "held_out=4", "device=cpu", "ema.snapshots=[]"]  # fmt: skip


def test_a_batch_that_hangs_is_reported_once_and_training_goes_on(tmp_path, monkeypatch, capsys):
    losses, calls = vae.VaeStage.losses, []

    def slow(self, player, models, batch):
        calls.append(1)
        if len(calls) == 3:
            time.sleep(1.2)
        return losses(self, player, models, batch)

    monkeypatch.setattr(vae.VaeStage, "losses", slow)
    words = ["run=r", f"root={tmp_path}", "alert.stall=0.6", "track=tensorboard", *TINY]
    stages.train(validate(compose.composed("train_vae", words), TrainVae))
    lines = [json.loads(line) for line in (tmp_path / "r/vae/metrics.jsonl").open()]
    (alert,) = [line for line in lines if "in slow" in line.get("alert", "")]
    assert alert["pictures"] == 8
    seconds, place = re.fullmatch(
        r"no step has ended for (\d) s: waiting in (.*)", alert["alert"]
    ).groups()
    assert seconds == "1" and "test_watchdog.py" in place and "in slow" in place
    assert capsys.readouterr().err.count("in slow") == 1
    assert [line["pictures"] for line in lines if "loss" in line] == [8, 16, 24, 32]


def test_without_a_terminal_each_line_is_readable(tmp_path):
    command = [sys.executable, "-m", "dmtool", "train-vae", "run=r", *TINY]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not set("\r\x1b█") & set(done.stdout + done.stderr)
    pattern = r"vae: ( \d\d|100)%, (\d+) pictures, \d\.\d{4} loss, \d+ pictures/s, \d\d:\d\d left"
    lines = [re.fullmatch(pattern, line) for line in done.stderr.splitlines()]
    assert all(lines), done.stderr
    assert [line[2] for line in lines] == ["8", "16", "24", "32"]
    assert [line[1] for line in lines] == [" 25", " 50", " 75", "100"]
