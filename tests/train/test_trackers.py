"""What TensorBoard and wandb hold of a run that was killed and went on."""

import json
import struct
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from dmtool import errors
from dmtool.config import compose
from dmtool.config.stages import TrainVae
from dmtool.config.validation import validate
from dmtool.errors import Stopped, UserError
from dmtool.train import stages
from dmtool.train.log import Log
from dmtool.train.progress import Progress

CRASHED, SAVED = 40, 24


def config(*words):
    return validate(compose.composed("train_vae", ["run=r", *words]), TrainVae)


def log(folder, words, first, last):
    """A training's log from `first` to `last` pictures, which ends as a kill does: unannounced."""
    progress = Progress(pictures=first)
    log = Log(folder, config(*words), "vae", progress, Accelerator(cpu=True))
    for tracker in log._trackers:
        tracker.start()
    for pictures in range(first + 8, last + 1, 8):
        progress.pictures = pictures
        log.collect({"loss": torch.tensor(100.0 * first + pictures)})
        log.write(progress, {})
        log.tell()
    Image.new("RGB", (6, 4), (250, 0, last)).save(folder / "preview.png")
    log.picture(progress, folder / "preview.png")
    return log


def test_tensorboard_shows_each_point_once_after_a_kill(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(tmp_path, ["track=tensorboard"], 0, CRASHED)
    log(tmp_path, ["track=tensorboard"], SAVED, 64)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    told = {each.step: each.value for each in events.Scalars("loss")}
    assert len(events.Scalars("loss")) == len(told) == 8
    assert told[SAVED] == SAVED and told[32] == 100 * SAVED + 32, "what was lost is told anew"
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [*told.values()]
    (picture,) = events.Images("preview")
    assert (picture.step, picture.width, picture.height) == (64, 6, 4)


def test_wandb_offline_goes_on_in_the_same_run(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    words = ["track=[wandb]", "wandb.mode=offline"]
    identities, told = set(), []
    for first, last in ((0, CRASHED), (SAVED, 64)):
        ended = log(tmp_path, words, first, last)
        identities.add(ended._trackers[0].run.id)
        ended._trackers[0].finish()
    wandb.teardown()  # its own process closes the files, and is slow on a busy machine
    for piece in sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb")):
        told += list(history(piece))
    assert len(identities) == 1
    assert [step for step, names in told if "loss" in names] == list(range(8, 65, 8))
    assert [step for step, names in told if "preview" in names] == [CRASHED, 64]


def history(path):
    """(step, names of figures) of the history in a file of wandb's."""
    from wandb.proto import wandb_internal_pb2

    for data in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            yield record.history.step.num, {item.key or item.nested_key[0] for item in items}


def records(content, header=7, block=32768):
    """The records of a log in LevelDB's format: checksum (4), length (2), type (1), data."""
    at, record = header, b""
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def test_a_missing_tensorboard_is_one_line_before_anything_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'dmtool\[tensorboard\]'"):
        stages.train(config("track=tensorboard", f"root={tmp_path}"))
    assert not list(tmp_path.iterdir())


def test_wandb_without_a_key_is_one_line(tmp_path, monkeypatch):
    import wandb

    def refuse(**settings):
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UserError, match=r"wandb login.*wandb\.mode=offline"):
        log(tmp_path, ["track=wandb"], 0, 8)


def test_online_wandb_is_told_nothing_that_it_has(tmp_path, monkeypatch):
    """The server says where its history ends; it may have less than was logged."""
    import wandb

    told = []
    run = SimpleNamespace(
        offline=False, starting_step=33, log=lambda values, step: told.append(step)
    )
    monkeypatch.setattr(wandb, "init", lambda **settings: run)
    monkeypatch.setattr(wandb, "config", SimpleNamespace(update=lambda *_, **__: None))
    log(tmp_path, ["track=wandb"], SAVED, 48)
    assert told == [40, 48, 48]


class Heard(SimpleNamespace):
    """A tracker that remembers what it was told."""

    def start(self):
        self.told = ["start"]

    def finish(self):
        self.told.append("finish")


@pytest.mark.parametrize(("end", "told"), [
    (None, ["start", "finish"]), (Stopped("saved"), ["start", "finish"]),
    (RuntimeError("broken"), ["start"]),
])  # fmt: skip
def test_a_run_that_is_stopped_and_saved_has_finished_and_a_broken_one_has_not(tmp_path, end, told):
    tracked, heard = Log(tmp_path, config(), "vae", Progress(), Accelerator(cpu=True)), Heard()
    tracked._trackers = [heard]
    with pytest.raises(type(end)) if end else nullcontext(), tracked.bar(0.0):
        if end:
            raise end
    assert heard.told == told
