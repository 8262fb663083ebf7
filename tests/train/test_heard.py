"""What reaches the network: the same text in training and in all that samples; no float64."""

import pytest
import tiny
import torch

import dmtool
from dmtool.chain.request import Request
from dmtool.nn.unet import UNet

FROZEN = [word for word in tiny.STAGE["unet"] if not word.startswith("text")]


@pytest.fixture
def heard(monkeypatch):
    """The captions' states that U-Nets have been given, as bytes."""
    found, embed = set(), UNet.embed_states

    def noting(unet, states):
        found.update(row[row.any(1)].numpy().tobytes() for row in states)
        return embed(unet, states)

    monkeypatch.setattr(UNet, "embed_states", noting)
    return found


def taken(heard):
    """What has been heard since the last call."""
    found = {*heard}
    heard.clear()
    return found


def test_training_previews_evaluation_and_sampling_hear_the_same_bits(heard, tmp_path, monkeypatch):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(tiny.STAGE, "unet", [*FROZEN, "text=minilm", "dtype=bf16"])
    training = tiny.trainer("unet", tmp_path, "limit.pictures=40", "guidance.scale=2")
    stage, captions = training.stage, {""}
    captions.update(c for row in stage.source.dataset["caption"] for c in row)
    training.run()
    training_heard = taken(heard)
    chain = dmtool.load(str(tmp_path), "sampler.steps=1", "dtype=bf16", "device=cpu")
    list(chain.pictures(Request(caption, (0, 0)) for caption in captions))
    sampled = taken(heard)
    preview = stage.text.encode(["a"]).states[0].numpy().tobytes()
    assert training_heard - {preview} < sampled and len(sampled) == len(captions)
    assert len(training_heard) > 20


@pytest.mark.parametrize("stage", ["vae", "unet", "upsampler"])
def test_nothing_in_float64_is_sent_to_the_device_and_times_stay(stage, tmp_path, monkeypatch):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    batch = tiny.trainer(stage, tmp_path, "limit.pictures=8").stage.feed.batch(range(4))
    moved = batch.to(torch.device("meta"), torch.bfloat16).tensors()
    assert moved.keys() == batch.tensors().keys()
    for name, tensor in moved.items():
        stays, time = name in batch.on_host, name in ("t", "low_t")
        assert tensor.device.type == ("cpu" if stays else "meta")
        assert (tensor.dtype == torch.float64) == time <= stays
