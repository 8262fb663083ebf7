"""Trainings in shards: the same as whole ones, and their checkpoints on any number of processes."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
import sharded

STEPS = 20
END, HALF = STEPS * sharded.BATCH, STEPS * sharded.BATCH // 2


def trained(folder, rank):
    """Train to the end; leave all checkpoints and the whole of the last state."""
    state = sharded.start()
    sharded.train(state, HALF, folder / "checkpoints")
    sharded.train(state, END, folder / "checkpoints")
    found = sharded.content(state)
    if rank == 0:
        save_file(found, folder / "end.safetensors")


def loaded(folder, others, rank):
    """Load others' last checkpoints, and go on from one's own at half the way."""
    for other in others:
        state = sharded.start()
        assert state.load_newest(other / "checkpoints")
        same(sharded.content(state), load_file(other / "end.safetensors"))
    state = sharded.start()
    state.load(folder / "checkpoints" / f"{HALF:012d}")
    assert state.progress.pictures == HALF
    sharded.train(state, END)
    same(sharded.content(state), load_file(folder / "end.safetensors"))


def same(ours, theirs):
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
        assert ours[name].dtype == tensor.dtype, name


def distance(ours, theirs):
    a, b = (torch.cat([x[name].flatten().double() for name in theirs]) for x in (ours, theirs))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.slow
def test_one_two_and_four_processes_train_the_same_and_read_each_others_checkpoints(tmp_path):
    one, two, four = (tmp_path / name for name in ("one", "two", "four"))
    for folder in (one, two, four):
        folder.mkdir()
    trained(one, 0)
    sharded.run(partial(trained, two), 2)
    sharded.run(partial(trained, four), 4)
    ends = [load_file(folder / "end.safetensors") for folder in (one, two, four)]
    begun = sharded.content(sharded.start())
    models = [{k: x for k, x in end.items() if k.startswith("model")} for end in ends]
    assert distance(begun, models[0]) > 0.01
    for end, model in zip(ends[1:], models[1:], strict=True):
        assert distance(model, models[0]) < 1e-12
        assert distance(end, ends[0]) < 1e-12
    loaded(one, [two, four], 0)
    sharded.run(partial(loaded, two, [one, four]), 2)
    sharded.run(partial(loaded, four, [one, two]), 4)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".metadata", ".distcp")]
