"""A result takes the place of one of its kind and of nothing else, and this is known beforehand."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dmtool.chain import sample
from dmtool.chain.pipeline import Picture
from dmtool.chain.request import Request
from dmtool.cli import app
from dmtool.config.using import Animation
from dmtool.draw import animation, plot
from dmtool.errors import UserError
from dmtool.files import outputs

KINDS = {name: kind for name, kind in vars(outputs).items() if isinstance(kind, outputs.ResultKind)}


@pytest.fixture
def written(tmp_path):
    """A file of each kind, as the commands write it."""

    def moving(kind):
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        return animation.save(
            tmp_path / "way", frames, Animation(format=kind, seconds=0.1, hold=1.0)
        )

    def drawn(suffix):
        path = tmp_path / f"plot.{suffix}"
        plot.write(plot.page([plot.Panel("a", "x", [plot.Curve("c", [1, 2], [3, 4])])]), path)
        return path

    def picture(name):
        outputs.save_picture(Image.new("RGB", (4, 4)), tmp_path / name)
        return tmp_path / name

    def sampled():
        path, pixels = tmp_path / "sample.png", torch.zeros(3, 4, 4, dtype=torch.uint8)
        sample.write(path, Picture(Request("x", (0, 0)), pixels, pixels), "{}")
        return path

    def as_json(name, **content):
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    page = tmp_path / "page.html"
    page.write_text(f"<title>x</title>{'s' * 3000}<p>This page holds all that it shows</p>")
    np.savez(tmp_path / "stats.npz", mu=0, sigma=0, extractor="{}")
    return {
        "EVALUATION": [as_json("fid.json", metric="FD", figures={})],
        "DUPLICATES": [as_json("twins.json", pairs=[], threshold=1)],
        "PLAN": [as_json("plan.json", stage="vae", parameters={}, devices=[])],
        "CURVE": [as_json("curve.json", stage="vae", settings={}, points=[])],
        "DEFAULTS": [as_json("tuned.json", found={}, words=[])],
        "PICTURE": [picture("sheet.png"), sampled()],
        "DRAWING": [drawn("png"), drawn("svg")],
        "MOVING": [moving("webp"), moving("gif")],
        "PAGE": [page],
        "STATISTICS": [tmp_path / "stats.npz"],
    }


@pytest.fixture
def foreign(tmp_path):
    """Files of the user's, and of a run, that no result may replace."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    for suffix in ("png", "gif", "webp"):
        Image.new("RGB", (4, 4), "green").save(folder / f"photo.{suffix}")
    (folder / "card.json").write_text('{"format": 2, "sha256": "a", "metrics": {}}')
    (folder / "list.json").write_text("[1]")
    (folder / "page.html").write_text("<p>mine</p>")
    (folder / "mine.svg").write_text("<svg/>")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "empty.png").touch()
    Image.new("1", (14000, 14000)).save(folder / "bomb.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    np.savez(folder / "arrays.npz", mine=1)
    zipped = (folder / "arrays.npz").read_bytes()
    (folder / "later.npz").write_bytes(zipped.replace(b"PK\1\2-\3-", b"PK\1\2-\3\xff"))
    (folder / "gone.json").symlink_to(folder / "nowhere")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("name", KINDS)
def test_only_results_of_the_kind_are_replaced(written, foreign, name):
    kind = KINDS[name]
    for path in written[name]:
        assert outputs.file(path, kind) == path
    pictures = {"PICTURE", "DRAWING", "MOVING"}
    others = [path for other, paths in written.items() if other != name for path in paths
              if not {name, other} <= pictures]  # fmt: skip
    for path in [*others, *foreign]:
        with pytest.raises(UserError, match=r"is not replaced|its name must end in"):
            outputs.file(path, kind)


def test_places_that_cannot_be_written_to_are_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert outputs.file(tmp_path / "new/deep/x.json", outputs.PLAN).name == "x.json"
    assert outputs.folder(tmp_path / "new/deep") == tmp_path / "new/deep"
    for act in (
        lambda: outputs.folder(tmp_path / "file"),
        lambda: outputs.folder(tmp_path / "file/deep"),
        lambda: outputs.file(tmp_path / "file/x.json", outputs.PLAN),
    ):
        with pytest.raises(UserError, match="is a file, and no folder"):
            act()
    with pytest.raises(UserError, match=r"a\.PNG: results go into a folder"):
        outputs.folder(tmp_path / "a.PNG")
    with pytest.raises(UserError, match="is a folder: name a file"):
        outputs.file(tmp_path, outputs.PLAN)
    with pytest.raises(UserError, match=r"must end in \.png or \.svg"):
        outputs.file(tmp_path / "x", outputs.DRAWING)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="nothing can be written to"):
        outputs.folder(tmp_path / "new")
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert outputs.file("~/x.json", outputs.PLAN) == tmp_path / "x.json"
    shutil.rmtree(tmp_path / "new", ignore_errors=True)


def test_a_text_of_a_picture_is_read_of_ours_alone(tmp_path):
    outputs.save_picture(Image.new("RGB", (2, 2)), tmp_path / "a.png", source="größer")
    assert outputs.texts(tmp_path / "a.png")["source"] == "größer"
    Image.new("RGB", (2, 2)).save(tmp_path / "b.png")
    assert outputs.texts(tmp_path / "b.png") == {} == outputs.texts(tmp_path / "c.png")


def test_commands_look_at_their_outputs_first(dmtool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = tmp_path / "card.json"
    card.write_text('{"format": 2}')
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    for words in (
        ["report", "nope", "--out", "card.json"],
        ["check-run", "nope", "--write", "card.json"],
        ["check-run", "nope", "--write", "."],
        ["sample", "--prompt", "x", "--out", "card.json"],
        ["plot-noise", "--out", "photo.png"],
        ["eval-sweep", "guidance.scale=1,2", "--out", "card.json"],
    ):
        done = CliRunner().invoke(app, words)
        assert (done.exit_code, done.output.count("\n")) == (2, 1)
        assert done.output.startswith(("dmtool: --out", "dmtool: --write")), done.output
    assert card.read_text() == '{"format": 2}'
    words = ["data", "data=shapes", "data.count=4", "--out"]
    said = dmtool(*words, "photo.png", cwd=tmp_path, code=2).stderr
    assert said.startswith(
        "dmtool: --out photo.png: what stands there is no picture made by dmtool"
    )
    dmtool(*words, "new/x.png", cwd=tmp_path)
    assert outputs.known(tmp_path / "new/x.png", outputs.PICTURE)
