"""Shards: how large, killed and gone on with, shared out, damaged and made anew."""

import hashlib
import multiprocessing
import os
import signal
import time
from functools import lru_cache
from pathlib import Path

import pytest
import torch

from dmtool.errors import CheckFailed
from dmtool.files import cache, entries, records, shards

ROWS, COUNT = 10 * shards.ROWS + 17, 11
SIZE = 12  # bytes of a row
KEY = {"data": "x"}
FORK = multiprocessing.get_context("fork")


def encode(rows):
    return {"value": torch.arange(rows.start, rows.stop)[:, None] * torch.ones(3)}


def start(log: Path, rows: int = ROWS, root: Path | None = None):
    """A process that fills the cache, logs each shard that it begins, and takes 0.1 s for it."""

    def slowly(rows):
        with open(log, "a") as file:
            file.write(f"{rows.start}\n")
        time.sleep(0.1)
        return encode(rows)

    def fill():
        if root:
            os.environ["DMTOOL_CACHE"] = str(root)
        shards.filled("toy", KEY, rows, SIZE, slowly)

    process = FORK.Process(target=fill)
    process.start()
    return process


def finish(*processes):
    for process in processes:
        process.join(60)
        assert process.exitcode == 0


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def encoded(*logs: Path) -> list[int]:
    """The shards in the logs."""
    lines = [line for log in logs if log.exists() for line in log.read_text().split()]
    return [int(line) // shards.ROWS for line in lines]


def content(root: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (root / "toy").glob("[!.]*/[!.v]*")
    }


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_killed_in_the_middle_it_goes_on_and_equals_an_uninterrupted_one(root, tmp_path):
    log, again = tmp_path / "log", tmp_path / "again"
    finish(start(tmp_path / "straight", root=tmp_path / "straight-cache"))
    process = start(log)
    while len(encoded(log)) < 5:
        time.sleep(0.01)
    kill(process)
    kept = set(next((root / "toy").glob("[!.]*")).glob("[0-9]*"))
    assert 4 <= len(kept) <= 5, "whole shards are kept"
    finish(start(again))
    assert sorted(encoded(again)) == list(range(len(kept), COUNT)), "and not encoded again"
    assert content(root) == content(tmp_path / "straight-cache") and len(content(root)) == COUNT + 1
    values = torch.cat(shards.filled("toy", KEY, ROWS, SIZE, pytest.fail).column("value"))
    assert torch.equal(values[:, 2], torch.arange(ROWS).float())


def test_processes_share_the_work_and_one_without_any_returns_as_well(root, tmp_path):
    logs = [tmp_path / f"log{i}" for i in range(3)]
    finish(*(start(log) for log in logs))
    assert sorted(encoded(*logs)) == list(range(COUNT)), "each shard is encoded once"
    assert sum(bool(encoded(log)) for log in logs) > 1
    finish(*(start(tmp_path / f"few{i}", rows=300) for i in range(4)))
    assert sorted(encoded(*tmp_path.glob("few*"))) == [0, 1]
    finish(*(start(tmp_path / "none", rows=0) for _ in range(2)))


def test_what_a_dying_process_had_begun_is_taken_over_by_one_that_waits_for_it(root, tmp_path):
    log = tmp_path / "log"
    begun = start(log, rows=100)
    while not encoded(log):
        time.sleep(0.001)
    os.kill(begun.pid, signal.SIGSTOP)  # in the middle of its only shard
    waiting = start(tmp_path / "waiting", rows=100)
    waiting.join(0.5)
    assert waiting.is_alive() and not encoded(tmp_path / "waiting")
    kill(begun)
    finish(waiting)
    assert encoded(tmp_path / "waiting") == [0]
    shards.filled("toy", KEY, 100, SIZE, pytest.fail)


def refilled(key, rows):
    """(the shards, which rows were encoded for them)."""
    made = []

    def noted(rows):
        made.append(rows)
        return encode(rows)

    return shards.filled("toy", key, rows, SIZE, noted), made


def test_a_byte_flipped_anywhere_is_found_and_only_that_shard_is_made_anew(root, caplog):
    shards.filled("toy", KEY, 600, SIZE, encode)
    before = content(root)
    for at in (3, 100, -1):
        path = sorted((root / "toy").glob("[!.]*/00001-*"))[0]
        data = bytearray(path.read_bytes())
        data[at] ^= 4
        path.write_bytes(data)
        found, made = refilled(KEY, 600)
        assert made == [range(256, 512)] and content(root) == before
        assert torch.equal(torch.cat(found.column("value"))[:, 0], torch.arange(600).float())
    assert "00001" in caplog.text and "made anew" in caplog.text


def test_a_shard_is_read_against_its_checksum_once_and_then_when_its_file_has_changed(
    root, monkeypatch
):
    read, intact = [], cache.intact
    monkeypatch.setattr(cache, "intact", lambda path: read.append(path) or intact(path))

    def start():
        read.clear()
        shards.filled("toy", KEY, 600, SIZE, pytest.fail)
        return [path.name[:5] for path in read]

    shards.filled("toy", KEY, 600, SIZE, encode)
    assert start() == [], "what was written is known"
    second = next((root / "toy").glob("*/00001-*"))
    os.utime(second, ns=(0, 0))
    assert start() == ["00001"] and start() == []
    (second.parent / records.VERIFIED).write_text('{"a": 3, "' + second.name + '": "x"}')
    assert start() == ["00000", "00001", "00002"] and start() == []
    (second.parent / records.VERIFIED).write_text("[" * 100_000)
    assert start() == ["00000", "00001", "00002"]


def test_what_verify_finds_is_made_anew_also_where_size_and_time_are_as_they_were(root):
    shards.filled("toy", KEY, 600, SIZE, encode)
    before, path = content(root), next((root / "toy").glob("*/00001-*"))
    data, status = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CheckFailed, match="00001"):
        entries.verify()
    assert refilled(KEY, 600)[1] == [range(256, 512)] and content(root) == before


def test_there_are_few_files_however_large_the_set_and_enough_to_share_out():
    def files(rows, row_bytes):
        return -(-rows // shards.per_shard(rows, row_bytes))

    assert files(8_000_000, 8192) == 489, "latents of 4 x 32 x 32: 128 MiB each"
    assert 128 < files(1_000_000, 512) <= shards.PARTS
    assert files(65_536, 512) == shards.PARTS and files(3_941, 512) == 16
    assert shards.per_shard(10_000, 1 << 20) == 128 and shards.per_shard(9, 1 << 40) == 1


def test_single_rows_keep_few_maps_open(root, monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 1)
    assert shards._mapped.cache_parameters()["maxsize"] == shards.OPEN < 65_530
    monkeypatch.setattr(shards, "_mapped", lru_cache(8)(shards._mapped.__wrapped__))
    found = shards.filled("toy", KEY, 64, SIZE, encode)
    assert len(found) == 64
    for row in [*range(64), *range(64)]:
        shard, within = found.place(row)
        assert shard["value"][within, 0] == row
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert sum(str(root / "toy") in line for line in maps) <= 9  # the last row's is held here


def test_another_key_or_number_of_rows_is_another_entry(root):
    for key, rows in ((KEY, 5), ({"data": "y"}, 5), (KEY, 6)):
        assert [refilled(key, rows)[1] for _ in range(2)] == [[range(rows)], []]
    assert len(list((root / "toy").glob("[!.]*"))) == 3


def test_tensors_are_backed_by_the_files(root):
    rows = 4 * shards.ROWS

    def large(rows):
        return {"value": torch.ones(len(rows), 1 << 15)}

    shards.filled("toy", KEY, rows, 1 << 17, large)
    values = list(shards.filled("toy", KEY, rows, 1 << 17, pytest.fail).column("value"))
    assert len(values) == 4 and all(value[-1, -1] == 1 for value in values)
    for path in root.rglob("*.safetensors"):
        with open(path, "r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(bytes(4))
    assert all(value[-1, -1] == 0 for value in values), "a copy would not have followed its file"


def test_values_that_half_precision_holds_and_does_not():
    assert shards.compact(torch.tensor([0.1, -6e4])).dtype == torch.float16
    assert torch.equal(shards.compact(torch.tensor([0.1, 7e4])), torch.tensor([0.1, 7e4]))
    for wrong in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="not finite"):
            shards.compact(torch.tensor([wrong]))
