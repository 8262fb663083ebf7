"""Damaged and forged files of every kind: a line or a repair, never a traceback, a hang, another
result."""

import io
import json
import os
import shutil
import tracemalloc
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import small_run
from damage import guard, outcome
from omegaconf import OmegaConf
from small_run import STATISTICS, card_of, forged, looked, read_all, read_statistics, used

from dmtool.config.compose import composed
from dmtool.config.stages import STAGES
from dmtool.config.using import HasData, Inspect
from dmtool.config.validation import check, validate
from dmtool.data import source
from dmtool.files import reading
from dmtool.look.health import check as health
from dmtool.look.watch import live
from dmtool.measure.features import arrays
from dmtool.runs import metrics, saved

SHAPES = ["data=shapes", "data.count=24", "data.size=16"]


HUGE = {
    "a network of 64 TB": ("vae", lambda card: card["network"].update(widths=[2**21])),
    "levels without end": ("vae", lambda card: card["network"].update(encoder_blocks=10**12)),
    "a number beyond 64 bits": ("unet", lambda card: card["network"].update(widths=[2 * 10**30])),
    "blocks without end": ("upsampler", lambda card: card["network"].update(blocks=[10**9])),
    "depth without end": ("unet", lambda card: card["network"].update(middle_depth=10**9)),
    "a picture of a terabyte": ("unet", lambda card: card["latent"].update(size=2**15)),
    "captions without end": (
        "unet", lambda card: card["text"]["config"].update(max_length=10**12)),
}  # fmt: skip
WRONG = {
    "no latent": ("vae", lambda card: card.pop("latent"), "the key 'latent' is missing"),
    "an argument too many": (
        "unet", lambda card: card["network"].update(evil=1), "unknown key 'network.evil'"),
    "a wrong type": ("vae", lambda card: card.update(resolution="16"), "resolution='16'"),
    "whitening of other channels": (
        "vae", lambda card: card["latent"]["whitening"]["std"].pop(), "not of 2 channels"),
    "nothing divided by": (
        "vae", lambda card: card["latent"]["whitening"]["std"].__setitem__(0, 0.0), "std.0=0.0"),
    "no number": (
        "unet", lambda card: card["noise"].update(shift=float("nan")), "noise.shift=nan"),
    "another role": (
        "unet", lambda card: card.update(role="autoencoder"),
        "autoencoder.kind=diffusion is none of"),
    "a kind that is none": (
        "unet", lambda card: card["noise"].update(kind="os.system"), "noise.kind=os.system"),
    "an absolute parent": (
        "unet", lambda card: card["parents"]["vae"].update(path="/etc"), "path='/etc'"),
    "a parent elsewhere": (
        "unet", lambda card: card["parents"]["vae"].update(path="../../../../.."), "no card.json"),
    "a parent of another role": (
        "unet", lambda card: card["parents"]["vae"].update(path="."), "not autoencoder"),
}  # fmt: skip


@pytest.mark.parametrize(("stage", "change"), HUGE.values(), ids=HUGE)
def test_a_card_that_claims_what_its_weights_are_not_is_refused_before_memory_is_taken(
    copy, stage, change
):
    forged(copy, stage, change)
    kind, line = outcome(lambda: used(copy, stage))
    assert kind == "refused" and str(card_of(copy, stage).parent) in line


@pytest.mark.parametrize(("stage", "change", "words"), WRONG.values(), ids=WRONG)
def test_a_card_that_is_wrong_is_refused_with_file_and_key(copy, stage, change, words):
    forged(copy, stage, change)
    kind, line = outcome(lambda: used(copy, stage))
    assert kind == "refused" and words in line, line


@pytest.mark.parametrize("stage", ["vae", "unet", "upsampler"])
def test_a_card_without_digest_is_used_and_one_that_was_changed_is_not(run, copy, stage):
    forged(copy, stage, lambda card: None)
    assert used(copy, stage)[0] == used(run, stage)[0]
    forged(run_copy := Path(shutil.copytree(run, copy / "again")), stage,
           lambda card: card["metrics"].update(other=1.0), sealed=True)  # fmt: skip
    kind, line = outcome(lambda: used(run_copy, stage))
    assert kind == "refused" and "is not what was written" in line


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij")
)


@pytest.mark.parametrize("content", [
    BOMB, "a: " + "[" * 50_000, "{}", "", "- 1", "limit: 3\n", "a: 1\na: 2\n", "optim: {kind: x}",
    "a: !!python/object/apply:os.system [id]", "\x00", "limit: {pictures: x, minutes: null}",
], ids=range(11))  # fmt: skip
def test_a_strange_config_ends_in_a_line(copy, content):
    (copy / "unet" / saved.NAME).write_text(content)
    for act in (
        lambda: live.once(str(copy), "unet", "."),
        lambda: health.check(str(copy), "unet", ".", None),
        lambda: check({"data": saved.read(copy / "unet").get("data")}, HasData),
        lambda: check(saved.read(copy / "unet"), STAGES["unet"]),
    ):
        outcome(act)
    kind, _ = outcome(lambda: check(saved.read(copy / "unet"), STAGES["unet"]))
    assert kind == "refused"


def test_a_config_is_read_as_it_was_written(run, tmp_path):
    words = {"a": "${x}", "b": "1e5", "c": 1e-7, "d": "2024-01-01", "e": "null", "f": [0.1, "é: "]}
    OmegaConf.save(words, tmp_path / "x.yaml")
    assert reading.read_yaml(tmp_path / "x.yaml") == words
    for stage in STAGES:
        path = run / stage / saved.NAME
        assert reading.read_yaml(path) == OmegaConf.to_container(OmegaConf.load(path))


def test_lines_of_a_log_that_are_none_are_left_out(copy, caplog):
    for other in ("vae", "upsampler"):  # whose curves take time to draw
        shutil.rmtree(copy / other)
    path = copy / "unet" / metrics.NAME
    whole = metrics.read(path)
    first, *rest = path.read_text().splitlines(keepends=True)
    bad = ['{"pictures": 8, "sec\n', "\udcff\x00\n", "[1]\n", "[" * 10**5 + "\n", "{}\n",
           '{"pictures": "8", "seconds": 1}\n',
           '{"pictures": 8, "seconds": 1, "loss": null}\n']  # fmt: skip
    text = "".join([first, *bad, *rest])
    path.write_bytes(text.encode(errors="surrogateescape"))
    with path.open("ab") as file:
        file.truncate(2**27)  # of zeros: one line that is longer than any
    tracemalloc.start()
    assert metrics.read(path) == whole
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert metrics.read(path) == whole
    assert f"{len(bad)} lines are damaged and left out; the first is line 2" in caplog.text
    looked(copy)
    assert metrics.forget_after(path, 16) == whole[-1]["pictures"]
    assert metrics.read(path) == [line for line in whole if line["pictures"] <= 16]


def test_a_training_goes_on_past_a_damaged_log_and_checkpoint(copy):
    with (copy / "unet" / metrics.NAME).open("a") as file:
        file.write("no line\n")
    newest = max((copy / "unet/checkpoints").iterdir())
    state = json.loads((newest / "state.json").read_text())
    (newest / "state.json").write_text(json.dumps(state | {"progress": {"pictures": -1}}))
    again = small_run.unet(copy)
    assert again.progress.pictures == 16
    again.run()
    assert metrics.read(copy / "unet" / metrics.NAME)[-1]["pictures"] == 32


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A set of pictures in a cache of its own, and the files of its entry."""
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    config = validate(composed("inspect", SHAPES), Inspect).data
    source.load(config)
    return config, sorted((tmp_path / "cache").glob("data/*/*"))


@pytest.mark.parametrize("act", [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    lambda path: path.write_bytes(b"\0" + path.read_bytes()[1:]),
    lambda path: path.unlink() or path.mkdir(),
    lambda path: path.unlink(),
    lambda path: os.truncate(path, 2**38),  # which takes minutes to read
])  # fmt: skip
def test_a_damaged_entry_of_the_cache_is_made_anew(data, act):
    config, files = data
    expected = read_all(config)
    for path in files:
        act(path)
        with guard():
            assert read_all(config) == expected, path
        assert 0 < path.stat().st_size < 2**20, "it is whole again"


@pytest.mark.parametrize(("change", "words"), [
    ({"n": np.int64(0)}, "n in"), ({"n": np.int64(-5)}, "at least 2"),
    ({"n": np.array([3, 4])}, "n in"), ({"n": np.array("x")}, "n in"),
    ({"mu": np.zeros((2, 3))}, "no covariance"), ({"sigma": np.zeros((6, 5))}, "no covariance"),
    ({"sigma": np.tri(6)}, "not symmetric"), ({"mu": np.zeros(())}, "features"),
    ({"extractor": np.array("{")}, "damaged"), ({"extractor": np.array("[1]")}, "extractor in"),
    ({"extractor": np.array('{"name": 3}')}, "extractor in"),
    ({"feats": np.zeros((1, 6))}, "feats in"), ({"feats": np.zeros(6)}, "feats in"),
])  # fmt: skip
def test_statistics_that_are_none_are_refused(tmp_path, change, words):
    path = tmp_path / "x.npz"
    np.savez(path, **(STATISTICS | change))
    kind, line = outcome(lambda: read_statistics(path))
    assert kind == "refused" and words in line, line


def test_arrays_that_claim_more_than_there_is_are_not_read(tmp_path):
    small = io.BytesIO()
    np.save(small, np.zeros(4))
    header = small.getvalue().replace(b"(4,), }" + b" " * 9, b"(1200000000,), }", 1)
    assert len(header) == len(small.getvalue())
    with zipfile.ZipFile(tmp_path / "claim.npz", "w") as file:
        file.writestr("mu.npy", header)
    zipped = zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with zipped, zipped.open("mu.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f8", "fortran_order": False, "shape": (2**25 + 2**20,)}
        )
        for _ in range(33):
            member.write(bytes(2**23))
    for name, words in (("claim", "claims 9,600,000"), ("bomb", "more than 50 times")):
        kind, line = outcome(lambda name=name: arrays.read(tmp_path / f"{name}.npz", ["mu"]))
        assert kind == "refused" and words in line, line


def test_a_parent_may_stand_anywhere_and_a_pipe_is_never_opened(run, tmp_path):
    elsewhere = Path(shutil.copytree(run, tmp_path / "a/b"))
    (tmp_path / "run").mkdir()
    (elsewhere / "unet").rename(tmp_path / "run/unet")
    forged(tmp_path / "run", "unet", lambda card: card["parents"]["vae"].update(
        path="../../../../a/b/vae/artifacts/default"))  # fmt: skip
    assert used(tmp_path / "run", "unet")[0] == used(run, "unet")[0]
    path = card_of(elsewhere, "vae")
    path.unlink()
    os.mkfifo(path)
    kind, line = outcome(lambda: used(tmp_path / "run", "unet"))
    assert kind == "refused" and line.endswith("card.json cannot be read: it is no file")
