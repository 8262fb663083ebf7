"""Trainings in shards: the same as whole ones, and their checkpoints on any number of processes."""

import shutil
from functools import partial

import pytest
import sharded
import torch
from safetensors.torch import load_file, save_file

STEPS = 20
END, HALF = STEPS * sharded.BATCH, STEPS * sharded.BATCH // 2


def trained(folder, rank):
    """Train to the end, from half the way if that is saved; leave checkpoints and the end."""
    state = sharded.start()
    if state.load_newest(folder / "checkpoints"):
        assert state.progress.pictures == HALF
    else:
        sharded.train(state, HALF, folder / "checkpoints")
    sharded.train(state, END, folder / "checkpoints")
    found = sharded.content(state)
    if rank == 0:
        save_file(found, folder / "end.safetensors")


def loaded(others, rank):
    """Others' last checkpoints hold, here as there, the ends of their trainings."""
    for other in others:
        state = sharded.start()
        assert state.load_newest(other / "checkpoints")
        same(sharded.content(state), load_file(other / "end.safetensors"))


def both(others, folder, rank):
    loaded(others, rank)
    trained(folder, rank)


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
    """Two go all the way, and again from half; four go on from where the two were at half."""
    one, two, four, again = (tmp_path / name for name in ("one", "two", "four", "again"))
    half = f"checkpoints/{HALF:012d}"
    one.mkdir()
    two.mkdir()
    trained(one, 0)
    sharded.run(partial(trained, two), 2)
    for folder in (four, again):
        shutil.copytree(two / half, folder / half)
    sharded.run(partial(both, [one, two], four), 4)
    sharded.run(partial(both, [one, four], again), 2)
    loaded([two, four], 0)
    ends = [load_file(folder / "end.safetensors") for folder in (one, two, four, again)]
    same(ends[3], ends[1])
    begun = sharded.content(sharded.start())
    assert distance(begun, {name: ends[0][name] for name in begun}) > 0.01
    assert distance(ends[1], ends[0]) < 1e-12 and distance(ends[2], ends[0]) < 1e-12
    assert {path.suffix for path in tmp_path.glob("*/checkpoints/*/*")} == {
        "", ".json", ".safetensors"
    }  # fmt: skip
