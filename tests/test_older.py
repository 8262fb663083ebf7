"""A run that commit 59e9fe3 trained: it goes on, paints, is measured and averaged as it was then.

`older/expected` has what that commit made of it. There it is equal to the last bit; processors of
another kind round in other places.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

import dmtool
from dmtool import runs
from dmtool.config.compose import composed
from dmtool.config.stages import STAGES
from dmtool.config.using import EvalFid, Lengths
from dmtool.config.validation import validate
from dmtool.measure import fid
from dmtool.processes import ALONE
from dmtool.train import ema_lengths, stages

OLDER = Path(__file__).parent / "older"
EXPECTED = OLDER / "expected"
DISTANCE = 5864.01  # FD-random-0 of 12 pictures, two steps of Euler, guidance 2


WORDS = [
    "run=older", "data=shapes", "data.count=48", "data.val=0.2", "batch_size=8",
    "limit.minutes=null", "every.log=8", "every.checkpoint=16", "every.validate=32",
    "every.preview=1000", "every.snapshot=16", "keep.last=1", "held_out=4", "dtype=fp32",
    "device=cpu", "optim.warmup=0", "optim.schedule=constant",
]  # fmt: skip
NETWORK = ["widths=[4]", "blocks=[1]", "middle_depth=0", "groups=2", "heads=1", "text_width=null"]
STAGE = {
    "vae": ["data.size=16", "resolution=16", "vae.widths=[4]", "vae.groups=2",
            "vae.latent_channels=2", "vae.encoder_blocks=1", "vae.decoder_blocks=1",
            "ema.snapshots=[0.05,0.1]"],
    "unet": ["data.size=16", "text=scratch", "text.tokenizer=bpe", "text.vocabulary=300",
             "text.width=8", "text.depth=1", "text.heads=2", "text.max_length=64", "unet.patch=1",
             "unet.depths=[1]", *(f"unet.{word}" for word in NETWORK), "ema.snapshots=[]",
             "preview.prompts=[a]", "sampler.steps=2"],
    "upsampler": ["data.size=32", "resolution=32", "text=none", "upsampler.depths=[0]",
                  *(f"upsampler.{word}" for word in NETWORK), "ema.snapshots=[]",
                  "sampler.steps=2"],
}  # fmt: skip
"""What a user would type again."""
HERE = ["dtype=fp32", "device=cpu"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy of the run, in a home and a cache of its own."""
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(OLDER, tmp_path / "older", ignore=lambda *_: ["expected"])


def alike(path, name):
    """Whether weights are the expected ones, but for rounding."""
    found, expected = load_file(path / "model.safetensors"), load_file(EXPECTED / name)
    assert found.keys() == expected.keys()
    for each, tensor in expected.items():
        assert (found[each] - tensor).norm() <= 1e-3 * tensor.norm() + 1e-6, each


@pytest.mark.parametrize("stage", STAGES)
def test_it_goes_on_by_the_same_command(run, stage):
    words = [*WORDS, *STAGE[stage], f"root={run.parent}", "limit.pictures=48"]
    stages.train(validate(composed(f"train_{stage}", words), STAGES[stage]))
    artifact = runs.find("older", stage, str(run.parent))
    assert artifact.card["pictures_seen"] == 48 and artifact.card["format"] == runs.FORMAT
    alike(artifact.path, f"{stage}.safetensors")


def test_it_paints_what_it_painted(run):
    heun = ["sampler=heun", "sampler.steps=3", "guidance.scale=2", "upsample.sampler.steps=2"]
    ddim = ["sampler=ddim", "sampler.steps=4", "guidance.scale=3", "upsample.use=never"]
    prompts = {"one": ["a red circle", "a small blue cross"], "two": ["a red circle"]}
    for name, words, seed in (("one", heun, 3), ("two", ddim, 0)):
        chain = dmtool.load(str(run), *words, *HERE)
        painted = [each for text in prompts[name] for each in chain.sample(text, n=2, seed=seed)]
        expected = [Image.open(path) for path in sorted((EXPECTED / name).iterdir())]
        for one, other in zip(painted, expected, strict=True):
            assert one.size == other.size
            assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def test_it_is_measured_as_it_was(run):
    words = [f"root={run.parent}", "run=older", "split=train", "count=12", "sampler=euler",
             "sampler.steps=2", "guidance.scale=2", "metrics=fd", "extractor=random",
             "batch_size=12", *HERE]  # fmt: skip
    result = fid.measure(validate(composed("eval_fid", words), EvalFid), ALONE)
    assert result["figures"]["all"]["fd"] == pytest.approx(DISTANCE, rel=1e-3)


def test_another_average_is_what_it_was(run):
    words = ["run=older", f"root={run.parent}", "stage=vae", "device=cpu"]
    ema_lengths.reconstruct(validate(composed("ema", words), Lengths), 0.07)
    alike(runs.find("older", "vae", str(run.parent), "ema-0.07").path, "ema-0.07.safetensors")
