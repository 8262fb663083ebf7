"""`dmtool plan` as a user meets it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from dmtool.config.compose import composed
from dmtool.config.parts import HFText
from dmtool.config.stages import LatentShape, TrainUnet
from dmtool.config.validation import validate
from dmtool.device import pick_device
from dmtool.errors import UserError
from dmtool.look import plan as planning
from dmtool.look.plan import devices, memory, outline, rehearsal
from dmtool.look.plan.loading import Few, loading
from dmtool.processes import ALONE
from dmtool.runs import Artifact
from dmtool.train.feed import Shuffled
from dmtool.train.stages.unet import check_shape
from dmtool.train.stages.vae import VaeStage


def test_stable_diffusion_is_counted_without_its_weights(dmtool, tmp_path):
    words = ["unet", "experiment=sd15", "--devices", "8xA100,T4", "--out", "plan.json"]
    said = dmtool("plan", *words, cwd=tmp_path).stdout
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert "859,520,964 parameters to train, 123,060,480 frozen" in said
    assert plan["parameters"]["trainable"] == 859_520_964
    # 401.6 G multiplications and additions at 64 x 64 with 77 tokens
    assert plan["flops_per_picture"]["forward"] == pytest.approx(803e9, rel=0.01)
    eight, one = plan["devices"]
    flops = sum(plan["flops_per_picture"].values())
    assert eight["pictures_per_second"] == pytest.approx(8 * 312e12 * devices.SHARE / flops)
    assert eight["memory_needed"] < 80e9 and "not even one picture fits" in said
    assert one["memory_needed"] > one["memory"] == 16e9
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_training_on_the_meta_device_is_refused():
    with pytest.raises(UserError, match="add device=auto"):
        pick_device("meta")


def test_a_shape_that_nobody_states_is_asked_for(tmp_path):
    words = [f"root={tmp_path}", "device=meta", "run=nope", "resolution=32"]
    unet = validate(composed("train_unet", words), TrainUnet)
    with pytest.raises(UserError, match="there is no run 'nope'"):
        outline.of_config(unet)
    stated = replace(unet, latent=LatentShape(channels=8, factor=4))
    x_t, _, cond = outline.of_config(stated).inputs(2)
    assert x_t.shape == (2, 8, 8, 8) and cond.states.shape == (2, 128, 768)
    with pytest.raises(UserError, match="text encoder 'nobody/knows'"):
        how = {"max_length": 9, "dtype": "bf16", "padding": "masked"}
        text = HFText(kind="hf", name="nobody/knows", layers=[-1], **how)
        outline.of_config(replace(stated, text=text))


def test_another_autoencoder_than_was_planned_with_is_refused():
    vae = Artifact(Path("runs/r"), {"latent": {"channels": 8}, "factor": 4})
    check_shape(vae, None)
    check_shape(vae, LatentShape(channels=8, factor=4))
    with pytest.raises(UserError, match=r"4 channels at 1/8 of the size, and .* makes 8 at 1/4"):
        check_shape(vae, LatentShape(channels=4, factor=8))


@pytest.mark.slow
def test_three_stages_are_tried_and_the_run_is_left_alone(dmtool, tiny, tmp_path):
    data, vae = tiny
    dmtool("train-vae", "run=r", *vae, cwd=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    unet = [*data, "unet.widths=[32]", "unet.heads=2", "text=scratch", "preview.prompts=[x]"]
    upsampler = [*data, "resolution=16", "upsampler.widths=[32]", "upsampler.patch=2",
                 "upsampler.blocks=[1]", "upsampler.depths=[0]"]  # fmt: skip
    for stage, words in (("vae", vae), ("unet", unet), ("upsampler", upsampler)):
        said = dmtool("plan", stage, "run=r", *words, cwd=tmp_path).stdout
        assert "the whole run: 16 pictures" in said
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_the_figures_of_a_tiny_stage(config, monkeypatch, tmp_path):
    monkeypatch.setattr(rehearsal, "SECONDS", 0.1)
    asked = config(f"root={tmp_path}", "limit.pictures=100000", "keep.best=val_psnr")
    said = planning.plan(asked, devices.parse("T4"), tmp_path / "plan.json")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["run"]["pictures"] == asked.limit.pictures
    assert plan["seconds"]["step"] == pytest.approx(8 / plan["pictures_per_second"])
    steps = plan["run"]["steps"] * plan["seconds"]["step"]
    assert plan["run"]["seconds"] > steps > 0
    assert plan["memory"]["host_peak"] > 100e6 and plan["memory"]["largest_is"] == "estimated"
    assert f"{plan['parameters']['trainable']:,} parameters" in said
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_devices_by_name_and_number():
    many, one = devices.parse("8xA100, rtx 4090")
    assert (many.name, many.count, one.name, one.count) == ("A100", 8, "RTX4090", 1)
    assert many.pictures_per_second(312e12 * devices.SHARE) == pytest.approx(8)
    assert [each.name for each in devices.parse(None)] == list(devices.DEVICES)
    for wrong in ("", "0xA100", "A100x8", "8xA10"):
        with pytest.raises(UserError, match="there are: T4"):
            devices.parse(f"T4,{wrong}")


@pytest.mark.parametrize(("room", "found"), [(0, 0), (1, 1), (100, 64), (128, 128), (9999, 1024)])
def test_the_largest_micro_batch_by_trying(room, found):
    tried = []
    assert memory.largest(lambda n: bool(tried.append(n)) or n <= room, most=1024) == found
    assert tried == [2**i for i in range(len(tried))] and tried[-1] <= 1024


def test_a_micro_batch_without_room_is_found_and_let_go(config, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.accelerator, "empty_cache", lambda: None)  # of a GPU that is not here
    stage = VaeStage(config(), torch.device("cpu"))
    losses = stage.losses

    def cramped(player, models, batch):
        if len(batch.image) > 4:
            raise torch.OutOfMemoryError("injected")
        return losses(player, models, batch)

    monkeypatch.setattr(stage, "losses", cramped)
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    tried = rehearsal.rehearsal(stage, config(), tmp_path, accelerator, ALONE)
    assert memory.largest(tried.fits, most=64) == 4
    assert all(parameter.grad is None for parameter in stage.network.parameters())


def test_powers_of_two():
    assert [memory.power_of_two(n) for n in (-3, 0.5, 1, 3.9, 4, 1000)] == [0, 0, 1, 2, 4, 512]


class Counted:
    """Ten examples that say which rows were made."""

    pictures = None

    def __len__(self):
        return 10

    def batch(self, places):
        return {"rows": [row for _, row in places], "k": [k for k, _ in places]}


def test_steps_are_measured_on_pictures_that_were_made_before(config):
    feed = Shuffled(Counted(), 0)
    few = Few(feed, loading(feed, config()).rows[:3])
    batch = few.batch(range(10, 20))
    assert batch["k"] == list(range(10, 20)) and set(batch["rows"]) == set(few.rows)
