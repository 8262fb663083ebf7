"""Checkpoints: whole or not at all, whatever is killed or damaged, and the right ones kept."""

import errno
import json
import os
import random
import shutil
import sys

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from dmtool.config.cadence import Keep
from dmtool.errors import UserError
from dmtool.files import directories
from dmtool.train.checkpoint import retained
from dmtool.train.ema import Ema, Power
from dmtool.train.progress import Best, Progress
from dmtool.train.state import Learner, State
from dmtool.train.writer import Writer

KEEP = Keep(last=2, every=None, best=None)


def new(pictures=0):
    """A small run, trained for so many pictures."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Conv1d(2, 2, 1))
    optimizers = [torch.optim.AdamW(network.parameters(), lr=1e-2)]
    learner = Learner(network, optimizers, Ema(network, Power(0.1)))
    state = State({"network": learner}, GradScaler("cpu"), Progress())
    train(state, pictures)
    return state


def train(state, pictures):
    """Until so many pictures are seen, one a step."""
    while state.progress.pictures < pictures:
        for i, parameter in enumerate(state.main.network.parameters()):
            parameter.grad = torch.cos(parameter.detach() + i + state.progress.pictures)
        state.main.optimizers[0].step()
        state.progress.pictures += 1
        state.main.ema.update(1, state.progress.pictures)


def facts(state):
    """All that a checkpoint holds, in a form that can be compared."""
    copy = state.copy()
    tensors = {
        (file, name): tensor.tolist()
        for file, content in copy.tensors.items()
        for name, tensor in content.items()
    }
    return tensors, json.dumps(copy.settings), copy.progress


def loaded(folder):
    state = new()
    assert state.load_newest(folder)
    return state


@pytest.fixture
def folder(tmp_path):
    """Checkpoints at 2 and at 4 pictures."""
    for pictures in (2, 4):
        new(pictures).copy().write(tmp_path, KEEP)
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_resumed_run_is_where_it_was_and_goes_on_alike(folder):
    state = loaded(folder)
    assert facts(state) == facts(new(4))
    train(state, 9)
    assert facts(state) == facts(new(9))


def test_what_is_written_is_the_moment_of_the_copy(tmp_path):
    state = new(3)
    state.progress.best = Best("val_loss", 0.5, 2)
    state.progress.metrics = {"val_loss": 0.5}
    copy, then = state.copy(), facts(new(3))[0]
    train(state, 5)
    state.progress.metrics["val_loss"] = 0.1
    copy.write(tmp_path, KEEP)
    tensors, _, progress = facts(loaded(tmp_path))
    assert tensors == then
    assert progress == Progress(3, metrics={"val_loss": 0.5}, best=Best("val_loss", 0.5, 2))


@pytest.mark.parametrize(
    "file", ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json",
             "SHA256SUMS"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_damage_anywhere_is_noticed_and_the_one_before_used(folder, file, damage, caplog):
    random.seed(f"{file} {damage}")
    path = folder / f"{4:012d}" / file
    whole = path.read_bytes()
    for _ in range(1 if damage == "missing" else 10):
        position = random.randrange(len(whole))
        flipped = bytes([whole[position] ^ 1 << random.randrange(8)])
        path.write_bytes(whole[:position])
        if damage == "flipped":
            path.write_bytes(whole[:position] + flipped + whole[position + 1 :])
        if damage == "missing":
            path.unlink()
        assert loaded(folder).progress.pictures == 2, position
        assert "cannot be used" in caplog.text
        assert names(folder) == [f"{2:012d}", f"{4:012d}.damaged"]
        (folder / f"{4:012d}.damaged").rename(path.parent)
        path.write_bytes(whole)
    assert loaded(folder).progress.pictures == 4


def test_a_damaged_one_takes_no_place_of_those_kept(folder):
    (folder / f"{4:012d}" / "state.json").unlink()
    state = loaded(folder)
    train(state, 3)
    state.copy().write(folder, Keep(last=1, every=None, best=None))
    assert names(folder) == [f"{3:012d}", f"{4:012d}.damaged"]


def test_nothing_whole_is_said_and_nothing_deleted(folder):
    for path in folder.glob("*/state.json"):
        path.write_text("{")
    before = names(folder)
    with pytest.raises(UserError, match=r"no checkpoint in .* is whole; delete"):
        new().load_newest(folder)
    assert names(folder) == before
    assert not new().load_newest(folder / "none")


@pytest.mark.parametrize(
    ("keep", "best", "kept"),
    [
        (Keep(last=1, every=None, best=None), None, {130}),
        (Keep(last=3, every=None, best=None), 40, {98, 105, 130}),
        (Keep(last=1, every=50, best=None), None, {64, 105, 130}),
        (Keep(last=1, every=33, best=None), None, {40, 70, 105, 130}),
        (Keep(last=1, every=1000, best="val_loss"), 40, {40, 130}),
        (Keep(last=9, every=None, best="val_loss"), 64, {9, 40, 64, 70, 98, 105, 130}),
    ],
)
def test_what_is_kept(keep, best, kept):
    saved = [9, 40, 64, 70, 98, 105, 130]
    best = Best("val_loss", 0.1, best) if best else None
    assert retained(saved, keep, best) == kept
    assert retained(sorted(kept), keep, best) == kept  # once kept, it stays


def killed_at(operation, act):
    """Do `act` in a process that dies before its n-th file operation; whether it got that far."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event, _):
            nonlocal count
            if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod",
                         "os.link"):  # fmt: skip
                count += 1
                if count > operation:
                    os._exit(9)

        sys.addaudithook(hook)
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_kill_before_any_file_operation_of_a_save_loses_nothing(folder, tmp_path_factory):
    """With a checkpoint deleted, one that is there already written again, and one amended."""
    again, copy = new(4).copy(), new(6).copy()
    seen = []
    for operation in range(1000):
        place = tmp_path_factory.mktemp("killed")
        shutil.copytree(folder, place, dirs_exist_ok=True)

        def act(place=place):
            again.write(place, KEEP)
            copy.write(place, KEEP)
            copy.amend(place, KEEP)

        died = killed_at(operation, act)
        directories.recover(place)
        assert not [name for name in names(place) if name.startswith(".")]
        state = loaded(place)
        seen.append(state.progress.pictures)
        assert facts(state) == facts(new(seen[-1]))
        assert all((path / "SHA256SUMS").is_file() for path in place.iterdir())
        if not died:
            break
    assert not died and operation > 40
    assert seen == sorted(seen) and set(seen) == {4, 6}


def test_a_full_disk_is_an_error_at_the_next_wait_and_leaves_the_others(folder, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer, copy = Writer(), new(6).copy()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        writer.start(lambda: copy.write(folder, KEEP))
        with pytest.raises(OSError, match="No space left"):
            writer.wait()
    assert names(folder) == [f"{2:012d}", f"{4:012d}"]
    assert facts(loaded(folder)) == facts(new(4))
    writer.start(lambda: copy.write(folder, KEEP))
    writer.wait()
    assert facts(loaded(folder)) == facts(new(6))
