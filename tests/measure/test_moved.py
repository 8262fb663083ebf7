"""What evaluates a run reads its pictures by what they are, wherever they stand."""

import shutil

import pytest

from dmtool.config import compose
from dmtool.config.stages import TrainUnet
from dmtool.config.using import EvalFid, Lengths
from dmtool.config.validation import validate
from dmtool.data import shapes
from dmtool.errors import UserError
from dmtool.measure import fid
from dmtool.processes import ALONE
from dmtool.train import ema_lengths, stages

UNET = [
    "data=folder", "data.path=p", "data.val=0.2", "codec=pixels", "resolution=16", "unet.patch=4",
    "text=scratch", "text.width=16", "text.depth=1", "text.heads=2", "text.max_length=64",
    "unet.widths=[16]", "unet.groups=8", "unet.heads=2", "unet.text_width=null", "sampler.steps=1",
    "preview.prompts=[a]", "limit.minutes=null", "limit.pictures=16", "batch_size=8",
    "every.snapshot=8", "held_out=2", "dtype=fp32", "device=cpu", "root=runs",
]  # fmt: skip
FID = ["split=val", "count=3", "sampler.steps=1", "metrics=fd", "dtype=fp32", "batch_size=4",
       "extractor=random"]  # fmt: skip


def measured(*words):
    return fid.measure(validate(compose.composed("eval_fid", [*FID, *words]), EvalFid), ALONE)


def searched(capsys, *words):
    ema_lengths.search(validate(compose.composed("ema", words), Lengths), [0.1], None, False)
    return capsys.readouterr().out


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A run on a folder of pictures, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    draw(tmp_path / "p", range(14))
    stages.train(validate(compose.composed("train_unet", UNET), TrainUnet))
    return tmp_path


def draw(folder, numbers):
    folder.mkdir(exist_ok=True)
    for i in numbers:
        scene, caption = shapes.scene(0, i)
        shapes.draw(scene, 16).save(folder / f"{i:02d}.png")
        (folder / f"{i:02d}.txt").write_text(caption)


def test_moved_or_changed_pictures_are_those_of_the_training(home, capsys, monkeypatch):
    before, lines = measured(), searched(capsys)
    draw(home / "p", [20])  # the run was trained on what the cache holds
    assert measured()["figures"] == before["figures"]
    (home / "p").rename(home / "moved")
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    root = f"root={home}/runs"
    assert measured(root)["figures"] == before["figures"]
    assert searched(capsys, root) == lines
    shutil.rmtree(home / "cache")
    for act in (measured, lambda *words: searched(capsys, *words)):
        with pytest.raises(
            UserError, match=r"no longer holds .*no such folder.*add data\.path=DIR"
        ):
            act(root)
        with pytest.raises(UserError, match=r"are not the pictures .*\(14 then, 15 now;"):
            act(root, f"data.path={home}/moved")
    (home / "moved/20.png").unlink()
    assert measured(root, f"data.path={home}/moved/")["figures"] == before["figures"]
    assert searched(capsys, root, f"data.path={home}/moved") == lines
