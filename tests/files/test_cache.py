"""Entries of the cache: whole or not used, made by one process; `dmtool cache`."""

import json
import multiprocessing
import os
import re
import signal
import time

import pytest
import torch

from dmtool.errors import UserError
from dmtool.files import cache, entries, locks, records, shards

KEY = {"data": "ab" * 32, "size": {"height": 3, "width": 4}}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def slowly(folder):
    (folder / "values.txt").write_text(str(os.getpid()))
    with open(cache.root() / "builders", "a") as log:
        log.write(f"{os.getpid()}\n")
    time.sleep(0.5)


def build():
    print(cache.directory("toy", KEY, slowly))


def spawn(count):
    processes = [multiprocessing.get_context("fork").Process(target=build) for _ in range(count)]
    for process in processes:
        process.start()
    return processes


def test_a_directory_is_built_once_and_what_a_killed_builder_left_is_not_used(root):
    (first,) = spawn(1)
    while not list(root.glob("toy/*/values.txt")):
        time.sleep(0.01)
    others = spawn(2)
    os.kill(first.pid, signal.SIGKILL)
    for process in others:
        process.join(60)
        assert process.exitcode == 0
    made = (root / "builders").read_text().split()
    assert len(made) == 2 and made[0] == str(first.pid), "the killed one, and one of the two"
    folder = cache.directory("toy", KEY, pytest.fail)
    assert (folder / "values.txt").read_text() == made[1]


def test_a_failed_build_leaves_nothing(root):
    def fail(folder):
        (folder / "half").touch()
        raise UserError("no")

    with pytest.raises(UserError):
        cache.directory("toy", KEY, fail)
    assert not entries.entries()


def sharded(key):
    return cache.address({**key, "rows": 600, "per_shard": shards.ROWS})


def test_a_place_that_cannot_be_written_or_locked_is_named(root, monkeypatch):
    root.write_text("a file")
    with pytest.raises(UserError, match=r"cache cannot be written .*Not a directory.*DMTOOL_CACHE"):
        cache.directory("toy", KEY, pytest.fail)
    root.unlink()

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    with pytest.raises(UserError, match=r"Function not implemented.*DMTOOL_CACHE"):
        cache.directory("toy", KEY, pytest.fail)


@pytest.fixture
def filled(root):
    """One built directory, one complete set of shards and a partial one, one download."""
    cache.directory("data", KEY, lambda folder: (folder / "a.txt").write_text("a" * 2_000_000))
    for key in (KEY, {"data": "y"}):
        shards.filled("latents", key, 600, 36, lambda rows: {"x": torch.zeros(len(rows), 9)})
    next(root.glob(f"latents/{sharded({'data': 'y'})}/00001*")).unlink()
    (root / "weights").mkdir()
    (root / "weights/net.pth").write_bytes(b"weights")
    return root


def test_ls_tells_names_sizes_keys_and_what_is_complete(filled, dmtool, tmp_path):
    lines = dmtool("cache", "ls", cwd=tmp_path).stdout.splitlines()
    data, latents, partial, weights, total = lines
    name = f"data/{cache.address(KEY)[:12]}"
    assert re.fullmatch(
        rf"{name} +2.0 MB  complete +data abababababab, size.height 3, size.width 4", data
    )
    assert re.match(r"latents/\w{12} +0.0 MB  complete .*rows 600", latents)
    assert "2 of 3 shards" in partial and "data y" in partial
    assert re.match(r"weights/net.pth .*complete +downloaded", weights)
    assert total == f"4 entries, 2.0 MB, in {filled}"


def test_verify_finds_a_flipped_byte_in_any_file_and_exits_3(filled, dmtool, tmp_path):
    assert "none damaged" in dmtool("cache", "verify", cwd=tmp_path).stdout
    for path in (*filled.glob("data/*/[!v]*"), *filled.glob("latents/*/[!v]*")):
        whole = path.read_bytes()
        data = bytearray(whole)
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        (found,) = [bad for entry in entries.entries() for bad in entry.damaged()]
        assert found == path
        path.write_bytes(whole)
    path.write_bytes(data)
    done = dmtool("cache", "verify", cwd=tmp_path, code=3)
    assert str(path) in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_damaged_record_is_written_anew(filled):
    path = filled / "latents" / sharded(KEY) / records.RECORD
    before = path.read_text()
    path.write_text("{")
    shards.filled("latents", KEY, 600, 36, pytest.fail)
    assert json.loads(path.read_text()) == json.loads(before)


def test_rm_by_name_beginning_kind_or_all(filled, dmtool, tmp_path):
    names = [entry.name for entry in entries.entries()]
    for words, says in (
        (["latents/zzz"], "no entry 'latents/zzz'; did you mean latents/"),
        (["nothing"], "no entry 'nothing'; see: dmtool cache ls"),
        (["l"], "not one entry of the cache but 2"),
        ([names[0], "nothing"], "no entry 'nothing'"),
        ([], "or --all"),
        ([names[0], "--all"], "or --all"),
    ):
        done = dmtool("cache", "rm", *words, cwd=tmp_path, code=2)
        assert says in done.stderr and len(done.stderr.splitlines()) == 1
    assert len(entries.entries()) == 4, "nothing is removed by a mistake"
    assert "1 entry removed, 2.0 MB" in dmtool("cache", "rm", names[0], cwd=tmp_path).stdout
    assert entries.remove(["latents"]).startswith("2 entries")
    dmtool("cache", "rm", "--all", cwd=tmp_path)
    assert dmtool("cache", "ls", cwd=tmp_path).stdout == f"0 entries, 0.0 MB, in {filled}\n"


def test_what_is_being_made_is_not_removed(root, dmtool, tmp_path):
    (process,) = spawn(1)
    while not list(root.glob("toy/*/values.txt")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGSTOP)
    done = dmtool("cache", "rm", "toy", cwd=tmp_path, code=2)
    assert "is being made by another process" in done.stderr
    os.kill(process.pid, signal.SIGCONT)
    process.join(60)
    assert process.exitcode == 0
