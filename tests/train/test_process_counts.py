"""The same training on any number of processes and in any number of parts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import load_file
from tiny import STAGE

from dmtool.train import team
from dmtool.train.checkpoint import united

WORKER = Path(__file__).with_name("worker.py")
SPLITS = {"1 x 16": (1, 1, "ddp"), "2 x 8": (2, 1, "ddp"), "4 x 4": (4, 1, "ddp"),
          "1 x 4 x 4": (1, 4, "ddp"), "2 x 2 x 4 in shards": (2, 2, "fsdp2")}  # fmt: skip
"""Processes, the parts of each one's share, of a batch of 16, and how they share the network."""


def launch(processes, job, root, *words):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               f"--nproc_per_node={processes}", WORKER, job, root, *words]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def weights(folder):
    """Those of the newest checkpoint, and of the exported average."""
    newest = max((folder / "checkpoints").glob("[0-9]*"))
    average = load_file(folder / "artifacts/default/model.safetensors")
    live = {name: torch.empty_like(tensor) for name, tensor in average.items()}
    team.read(newest, live)
    return live, average


def distance(a, b):
    """The norm of the difference over that of the weights."""
    squares = [((a[name] - b[name]).square().sum(), a[name].square().sum()) for name in a]
    difference, whole = (sum(each) for each in zip(*squares, strict=True))
    return (difference / whole).sqrt().item()


def curve(folder, name):
    lines = map(json.loads, (folder / "metrics.jsonl").open())
    return [(line["pictures"], line[name]) for line in lines if name in line]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("proof")
    for name, (processes, parts, kind) in SPLITS.items():
        launch(processes, "proof", home / name, f"accumulation={parts}", f"parallel={kind}")
    return home


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGE)
def test_all_splits_of_a_batch_give_the_same_training(home, stage):
    whole, *others = (home / name for name in SPLITS)
    for other in others:
        pairs = zip(*(weights(each / "fp64" / stage) for each in (whole, other)), strict=True)
        assert all(distance(a, b) <= 1e-8 for a, b in pairs)
        for name, tolerance in (("loss", 1e-3), ("lr", 0)):
            ours, theirs = (curve(each / "fp32" / stage, name) for each in (whole, other))
            assert len(ours) == 20
            assert theirs == [(n, pytest.approx(value, rel=tolerance, abs=0)) for n, value in ours]


@pytest.mark.slow
def test_a_run_in_shards_that_was_cut_goes_on_exactly_and_on_one_process_as_well(tmp_path):
    launch(2, "shards", tmp_path / "straight")
    straight = tmp_path / "straight/unet"
    assert len(list(straight.glob("checkpoints/*/shard-*.safetensors"))) == 2 * 2
    for processes in (2, 1):
        root = tmp_path / f"{processes}"
        shutil.copytree(straight / f"checkpoints/{160:012d}", root / f"unet/checkpoints/{160:012d}")
        launch(processes, "shards", root)
        pairs = list(zip(weights(straight), weights(root / "unet"), strict=True))
        assert all(distance(a, b) <= (0 if processes == 2 else 1e-8) for a, b in pairs)


@pytest.mark.slow
def test_a_learned_weighting_is_the_same_on_two_processes_and_in_shards(tmp_path):
    splits, found = {"one": (1, 1, "ddp"), "two": (2, 2, "ddp"), "shards": (2, 1, "fsdp2")}, {}
    for name, (processes, parts, kind) in splits.items():
        words = f"accumulation={parts}", f"parallel={kind}"
        launch(processes, "learned", tmp_path / name, *words)
        live, _ = weights(tmp_path / name / "unet")
        newest = max((tmp_path / name / "unet/checkpoints").glob("[0-9]*"))
        beside = {"uncertainty.weight": torch.empty(128, dtype=torch.float64)}
        team.read(newest, beside)
        found[name] = live | beside
    assert found["one"]["uncertainty.weight"].abs().max() > 1e-4
    for name in ("two", "shards"):
        assert distance(found["one"], found[name]) <= 1e-8
        key = "uncertainty.weight"
        assert distance({key: found["one"][key]}, {key: found[name][key]}) <= 1e-6


@pytest.mark.slow
def test_two_players_and_what_couples_examples_are_the_same_however_a_batch_is_split(tmp_path):
    """The last of them goes on from the first one's checkpoint at half the way."""
    splits = {"1 x 32": (1, 1, "ddp"), "2 x 16": (2, 1, "ddp"), "1 x 4 x 8": (1, 4, "ddp"),
              "2 x 2 x 8 in shards": (2, 2, "fsdp2"), "on in shards": (2, 1, "fsdp2")}  # fmt: skip
    found, half = {}, f"checkpoints/{320:012d}"
    for name, (processes, parts, kind) in splits.items():
        root = tmp_path / name
        if name.startswith("on"):
            shutil.copytree(tmp_path / "1 x 32" / half, root / half)
        launch(processes, "players", root, f"accumulation={parts}", f"parallel={kind}")
        found[name] = players(root)
    first = found.pop("1 x 32")
    torch.manual_seed(0)
    begun = toy.Autoencoder().double().state_dict()
    assert distance(first, begun | {key: first[key] for key in first if key not in begun}) > 0.01
    for other in found.values():
        assert distance(first, other) <= 1e-8
        for key in ("codes", "counts", "adaptive", "critic.model:real", "critic.model:fake"):
            assert first[key].any()
            torch.testing.assert_close(other[key], first[key], rtol=1e-7, atol=1e-9)


def players(root):
    """The weights and buffers of both in the newest checkpoint, whole or in shards."""
    own = toy.Autoencoder().double().state_dict(), toy.Critic().double().state_dict()
    live = united(dict(zip(("model", "critic.model"), own, strict=True)))
    team.read(max((root / "checkpoints").glob("[0-9]*")), live)
    return live


@pytest.mark.slow
def test_a_book_of_codes_and_a_critic_are_the_same_however_a_batch_is_split(tmp_path):
    for name, (processes, parts, kind) in SPLITS.items():
        launch(processes, "book", tmp_path / name, f"accumulation={parts}", f"parallel={kind}")
    first, *others = (weights(tmp_path / name / "vae") for name in SPLITS)
    assert first[0]["bottleneck.counts"].gt(0).sum() > 8
    for other in others:
        assert all(distance(a, b) <= 1e-8 for a, b in zip(first, other, strict=True))
        torch.testing.assert_close(other[0]["bottleneck.book"], first[0]["bottleneck.book"])


@pytest.mark.slow
def test_a_bad_batch_and_memory_that_runs_out_in_one_process_of_two(tmp_path):
    """Both are agreed upon by all, and the training is that of one process."""
    for processes in (1, 2):
        launch(processes, "faults", tmp_path / f"{processes}")
    for a, b in zip(*(weights(tmp_path / each / "vae") for each in "12"), strict=True):
        assert 0 <= distance(a, b) <= 1e-8
