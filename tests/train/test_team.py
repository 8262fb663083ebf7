"""Checkpoints in shards: whole or not at all, and the same as those in one piece."""

import errno
import os
import random
import shutil
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from test_checkpoint import KEEP, facts, killed_at, loaded, names, new

from dmtool.files import directories
from dmtool.train.checkpoint import SharedCopy
from dmtool.train.team import Team


def connected():
    """A team of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return Team(dist.group.WORLD)


@pytest.fixture
def team():
    yield connected()
    dist.destroy_process_group()


def shared(copy, team):
    return SharedCopy(**vars(copy), team=team)


@pytest.fixture
def folder(tmp_path, team):
    """Checkpoints in shards at 2 and at 4 pictures."""
    for pictures in (2, 4):
        shared(new(pictures).copy(), team).write(tmp_path, KEEP)
    return tmp_path


def test_one_in_shards_is_read_as_it_was_written_by_runs_of_both_kinds(folder, team):
    assert names(folder) == [f"{2:012d}", f"{4:012d}"]
    assert facts(loaded(folder)) == facts(new(4))
    new(6).copy().write(folder, KEEP)
    for pictures in (6, 4):
        state = replace(new(), team=team)
        assert state.load_newest(folder)
        ours, theirs = facts(state), facts(new(pictures))
        assert ours == theirs
        shutil.rmtree(folder / f"{6:012d}", ignore_errors=True)


@pytest.mark.parametrize("file", ["shard-*", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_damage_to_a_shard_is_noticed_and_the_one_before_used(folder, file, damage, caplog):
    random.seed(f"{file} {damage}")
    (path,) = (folder / f"{4:012d}").glob(file)
    content = bytearray(path.read_bytes())
    position = random.randrange(len(content))
    content[position] ^= 1
    path.write_bytes(content if damage == "flipped" else content[:position])
    if damage == "missing":
        path.unlink()
    assert loaded(folder).progress.pictures == 2
    assert "cannot be used" in caplog.text


def test_a_full_disk_fails_all_processes_and_leaves_the_others(folder, team, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    copy = shared(new(6).copy(), team)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as failed:
            copy.write(folder, KEEP)
    assert failed.value.errno == errno.ENOSPC
    directories.recover(folder)
    assert names(folder) == [f"{2:012d}", f"{4:012d}"]
    copy.write(folder, KEEP)
    assert facts(loaded(folder)) == facts(new(6))


@pytest.mark.slow
def test_a_kill_before_any_file_operation_of_a_save_loses_nothing(tmp_path):
    """In a process that has no threads of a team yet: its children, each with one, are killed."""
    torch.multiprocessing.spawn(_killed_everywhere, (tmp_path,))


def _killed_everywhere(_, place):
    copies = {pictures: new(pictures).copy() for pictures in (2, 4, 6)}
    seen = []
    for operation in range(1000):
        shutil.rmtree(place)
        for pictures in (2, 4):
            copies[pictures].write(place, KEEP)
        died = killed_at(operation, lambda: shared(copies[6], connected()).write(place, KEEP))
        directories.recover(place)
        assert not [name for name in names(place) if name.startswith(".")]
        state = loaded(place)
        seen.append(state.progress.pictures)
        assert facts(state) == facts(new(seen[-1]))
        if not died:
            break
    assert not died and operation > 15
    assert seen == sorted(seen) and set(seen) == {4, 6}
