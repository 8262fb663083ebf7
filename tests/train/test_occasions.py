"""What is optional comes after the save, and a run that was cut off between makes up for it."""

import json

import pytest
from tiny import trainer

from dmtool.config.compose import composed
from dmtool.config.stages import TrainUnet, TrainVae
from dmtool.config.validation import validate
from dmtool.errors import UserError
from dmtool.look.plan.forecast import calendar

WORDS = ["limit.pictures=32", "every.checkpoint=16", "every.validate=16", "every.preview=32",
         "keep.best=val_psnr"]  # fmt: skip


class Broken(Exception):
    pass


def broken(*_):
    raise Broken


def state(folder):
    newest = max((folder / "vae/checkpoints").iterdir())
    found = json.loads((newest / "state.json").read_text())
    return found["progress"] | {"seconds": 0}


def logged(folder):
    """What the lines of the log are of, without what the clock says."""
    lines = (folder / "vae/metrics.jsonl").read_text().splitlines()
    clock = ("seconds", "pictures_per_second", "memory_gb")
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]


def card(folder, name="default"):
    return json.loads((folder / f"vae/artifacts/{name}/card.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer("vae", folder, *WORDS).run()
    return folder


@pytest.mark.parametrize("part", ["validate", "preview"])
def test_a_failure_after_the_save_costs_nothing_and_is_made_up_for(
    tmp_path, monkeypatch, part, whole
):
    failing = trainer("vae", tmp_path, *WORDS)
    at_the_end = lambda *words: broken() if failing.progress.done else right(*words)  # noqa: E731
    right = getattr(failing.stage, part)
    monkeypatch.setattr(failing.stage, part, at_the_end)
    with pytest.raises(Broken):
        failing.run()
    assert state(tmp_path)["pictures"] == 32 and state(tmp_path)["owed"]
    assert card(tmp_path)["complete"] and card(tmp_path)["pictures_seen"] == 32
    trainer("vae", tmp_path, *WORDS).run()
    assert state(tmp_path) == state(whole) and not state(whole)["owed"]
    assert logged(tmp_path) == logged(whole)
    assert (tmp_path / "vae/previews/000000032.png").exists()
    for name in ("default", "best"):
        assert card(tmp_path, name) == card(whole, name)
    assert card(whole)["metrics"].keys() == {"val_psnr", "val_ssim"}


def test_a_tracker_that_fails_comes_after_the_save(tmp_path):
    failing = trainer("vae", tmp_path, *WORDS)

    class Tracker:
        log = start = finish = picture = broken

    Tracker.start = Tracker.finish = lambda self: None
    failing.context.log._trackers.append(Tracker())
    with pytest.raises(Broken):
        failing.run()
    assert logged(tmp_path)[-1]["pictures"] == 8
    failing = trainer("vae", tmp_path / "two", *WORDS, "every.log=32")
    failing.context.log._trackers.append(Tracker())
    with pytest.raises(Broken):
        failing.run()
    assert state(tmp_path / "two")["pictures"] == 16


def test_what_is_null_is_never_done(tmp_path):
    never = ["every.validate=null", "every.preview=null", "every.checkpoint=null",
             "every.snapshot=null"]  # fmt: skip
    trainer("vae", tmp_path, *never, "limit.pictures=32").run()
    folder = tmp_path / "vae"
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["000000000032"]
    assert not (folder / "previews").exists() and not any(folder.glob("snapshots/*"))
    assert all("lr" in line for line in logged(tmp_path)) and not card(tmp_path)["metrics"]
    config = validate(composed("train_vae", [*never, "limit.pictures=32"]), TrainVae)
    happens = calendar(config, 4)
    assert (happens.validations, happens.previews, happens.snapshots) == ([], [], [])
    assert happens.saves == [4]
    with pytest.raises(UserError, match=r"keep.best=val_psnr is not measured; every.validate=P"):
        validate(composed("train_vae", [*never, "keep.best=val_psnr"]), TrainVae)


def test_no_prompts_are_no_previews(tmp_path):
    config = validate(composed("train_unet", ["preview.prompts=[]"]), TrainUnet)
    assert config.every.preview and config.preview_every is None
    trainer("unet", tmp_path, "preview.prompts=[]", "limit.pictures=8").run()
    assert (tmp_path / "unet/artifacts/default/card.json").exists()
    assert not (tmp_path / "unet/previews").exists()
