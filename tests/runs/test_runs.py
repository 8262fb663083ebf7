"""Artifacts: whole or not at all, checked when read, and clear words about what is missing."""

import json
from pathlib import Path

import pytest
import torch
from cards import PREDICTOR, VAE

from dmtool.errors import UserError
from dmtool.files import directories
from dmtool.files.tensors import read_tensors
from dmtool.runs import FORMAT, find, load, parent, save

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}
CARD = VAE


def content(path):
    return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.fixture
def artifact(tmp_path):
    return save(tmp_path / "demo/vae/artifacts/default", TENSORS, CARD)


def test_what_is_saved_is_found_and_loaded_from_anywhere(artifact, tmp_path, monkeypatch):
    sums = {name: artifact.card[name] for name in ("sha256", "card_sha256")}
    whole = CARD | {"format": FORMAT} | sums
    for run, root in (("demo", tmp_path), (str(tmp_path / "demo"), "elsewhere")):
        found = find(run, "vae", root)
        assert found.card == whole == artifact.card
        tensors = found.tensors()
        assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    monkeypatch.chdir(tmp_path)
    assert find("demo", "vae").card == whole  # a directory of this name that is a run
    assert sorted(content(artifact.path)) == ["card.json", "model.safetensors"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_while_writing_leaves_the_old_one_and_no_litter(artifact, error):
    before = content(artifact.path)

    def fail(folder):
        assert (folder / "model.safetensors").is_file()
        raise error

    with pytest.raises(error):
        save(artifact.path, {"a": torch.zeros(1)}, PREDICTOR, fail)
    with pytest.raises(error):
        save(artifact.path.with_name("new"), TENSORS, CARD, fail)
    assert content(artifact.path) == before
    assert [path.name for path in artifact.path.parent.iterdir()] == ["default"]


def test_a_failure_at_the_last_moment_brings_the_old_one_back(artifact, monkeypatch):
    before, rename = content(artifact.path), Path.rename
    new = artifact.path.with_name("new")

    def fail(self, target):
        if (self / "marker").exists():
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    for path in (artifact.path, new):
        with pytest.raises(OSError, match="no"):
            directories.replace(path, lambda folder: (folder / "marker").touch())
    assert content(artifact.path) == before and not new.exists()


def test_a_new_one_replaces_the_old_entirely(artifact):
    more = save(artifact.path, TENSORS, CARD, lambda folder: (folder / "more.json").touch())
    assert "more.json" in content(more.path)
    again = save(artifact.path, {"c": torch.ones(1)}, CARD)
    assert sorted(content(again.path)) == ["card.json", "model.safetensors"]
    assert list(again.tensors()) == ["c"] and again.card["sha256"] != artifact.card["sha256"]
    assert again.path.stat().st_mode & 0o055 == 0o055  # others may read it


def test_damaged_and_missing_weights_are_refused(artifact):
    file = artifact.path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        artifact.tensors()
    with pytest.raises(UserError, match="is damaged or missing"):
        read_tensors(file.with_name("other.safetensors"))
    file.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        artifact.tensors()


@pytest.mark.parametrize("text", ['{"format": 1}', "{}", "[]", "3"])
def test_an_unknown_format_is_refused(artifact, text):
    (artifact.path / "card.json").write_text(text)
    found = json.loads(text)["format"] if text == '{"format": 1}' else None
    with pytest.raises(UserError, match=f"format {found}, this dmtool reads 2 to {FORMAT}"):
        load(artifact.path)


@pytest.mark.parametrize("data", [b"", b'{"format": 1', b"\xff\xfe\x00"])
def test_a_damaged_card_is_refused(artifact, data):
    (artifact.path / "card.json").write_bytes(data)
    with pytest.raises(UserError, match=r"card\.json is damaged"):
        load(artifact.path)


def test_what_is_missing_is_said_with_what_to_type(artifact, tmp_path):
    (tmp_path / "second").mkdir()
    with pytest.raises(UserError, match=r"no run 'dmo'.*runs here: demo, second"):
        find("dmo", "vae", tmp_path)
    with pytest.raises(UserError, match=r"does not exist$"):
        find("dmo", "vae", tmp_path / "nothing")
    with pytest.raises(UserError, match="no unet stage; type: dmtool train-unet run=demo"):
        find("demo", "unet", tmp_path)
    with pytest.raises(UserError, match=r"no artifact 'early'; there are: default"):
        find("demo", "vae", tmp_path, "early")
    (artifact.path / "card.json").unlink()
    with pytest.raises(UserError, match=r"not an artifact: it has no card\.json"):
        find("demo", "vae", tmp_path)


def test_a_parent_is_found_where_the_run_was_moved_to(artifact, tmp_path):
    path = tmp_path / "demo/unet/artifacts/default"
    card = PREDICTOR | {"space_id": VAE["space_id"], "produces": "latents"}
    child = save(path, TENSORS, card | {"parents": {"vae": artifact.reference(path)}})
    assert child.card["parents"]["vae"]["sha256"] == artifact.card["sha256"]
    moved = (tmp_path / "demo").rename(tmp_path / "moved")
    child = find("moved", "unet", tmp_path)
    assert parent(child, "vae").card == artifact.card
    (moved / "vae").rename(moved / "gone")
    with pytest.raises(UserError, match=r"trained on the vae artifact in .*moved/vae.* is gone"):
        parent(child, "vae")
