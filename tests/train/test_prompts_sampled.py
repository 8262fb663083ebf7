"""`dmtool sample` with templates and weights, on tiny trainings."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import trainer

from dmtool import load, runs
from dmtool.chain.options import MaskFrom, SampleOptions
from dmtool.chain.prompts import Wildcards
from dmtool.chain.sample import sample
from dmtool.config.compose import composed
from dmtool.config.using import SampleConfig
from dmtool.config.validation import validate
from dmtool.errors import UserError

WORDS = ["sampler=ddim", "sampler.steps=2", "upsample.use=never", "dtype=fp32", "guidance.scale=3",
         "seed=3", "artifact=alive"]  # fmt: skip
NOTHING = {"n": 1, "index": 0, "negative": "", "film": False, "init": None, "mask": None,
           "mask_from": MaskFrom.WHITE, "outpaint": None, "vary": None, "frames": None,
           "to_seed": None}  # fmt: skip
TOGETHER = ["guidance.perturbed.scale=2", "guidance.interval.high=9", "upsample.use=auto"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A noise predictor that heeds its text, which one so little trained does not, and an
    upsampler."""
    root = tmp_path_factory.mktemp("run")
    trainer("unet", root, "limit.pictures=16").run()
    found, numbers = runs.find(str(root), "unet"), torch.Generator().manual_seed(0)
    weights = {
        name: x + 0.1 * torch.randn(x.shape, generator=numbers)
        for name, x in found.tensors().items()
    }
    runs.save(found.path.with_name("alive"), weights, found.card)
    upsampler = ["data.size=32", "resolution=32", "limit.pictures=16"]
    trainer("upsampler", root, *upsampler).run()
    return root


@pytest.fixture
def paint(run, tmp_path):
    def paint(out, prompts, words=(), **asked):
        """The pictures, and the text of their PNGs."""
        config = validate(composed("sample", [f"run={run}", *WORDS, *words]), SampleConfig)
        folder, lists = tmp_path / out, Wildcards(None)
        sample(
            config, SampleOptions(prompts=prompts, wildcards=lists, out=folder, **NOTHING | asked)
        )
        images = [Image.open(file) for file in sorted(folder.iterdir())]
        return [np.asarray(image).astype(int) for image in images], [i.text for i in images]

    return paint


def test_pictures_say_the_prompt_that_was_drawn_and_that_prompt_gives_them_again(paint, tmp_path):
    pictures, said = paint("drawn", ["a {red|blue} (circle:1.5)"], n=4, negative="{a|b}")
    assert {text["prompt"] for text in said} == {"a red (circle:1.5)", "a blue (circle:1.5)"}
    assert {text["negative"] for text in said} <= {"a", "b"}
    for i, (picture, text) in enumerate(zip(pictures, said, strict=True)):
        prompts, negative = [text["prompt"]], text["negative"]
        (again,), _ = paint(f"again-{i}", prompts, index=int(text["index"]), negative=negative)
        assert np.abs(again - picture).max() <= 1
    with pytest.raises(UserError, match="never closed"):
        paint("none", ["red", "(blue"])
    assert not (tmp_path / "none").exists()


def test_weights_change_a_picture_and_weight_one_does_not(run):
    chain = load(str(run), *WORDS)
    plain, same, more = (
        np.asarray(chain.sample(prompt)[0])
        for prompt in ("a red circle", "a (red:1) circle", "a (red:3) circle")
    )
    assert (plain == same).all() and (plain != more).any()


def test_a_way_between_weights_begins_and_ends_at_the_pictures_of_its_prompts(paint):
    """With perturbed attention, an interval, the upsampler and a film."""
    prompts = ["a {red|blue} (circle:0.5)", "a {red|blue} (square:2)"]
    way, said = paint("way", prompts, TOGETHER, n=2, frames=4, film=True)
    ends, of_ends = paint("ends", prompts, TOGETHER, n=2)
    assert [len(way), len(ends)] == [8, 4] and way[0].shape == (32, 32, 3)
    for place, end in ((0, 0), (1, 1), (6, 2), (7, 3)):
        assert said[place]["prompt"] == of_ends[end]["prompt"]
        assert np.abs(way[place] - ends[end]).max() <= 1
    for k in (2, 3, 4, 5):
        assert [said[k][name] for name in ("prompt", "to_prompt")] == [
            of_ends[k % 2 + row]["prompt"] for row in (0, 2)
        ]
        assert all(np.abs(way[k] - way[end]).max() > 4 for end in (k % 2, 6 + k % 2))
    free, _ = paint("free", prompts, [TOGETHER[2]], n=2)
    assert np.abs(free[0] - ends[0]).max() > 1


def test_pictures_are_painted_into_with_all_of_it(paint, tmp_path):
    init = Image.effect_noise((32, 32), 60).convert("RGB")
    init.save(tmp_path / "init.png")
    for name, white in (("black", 0), ("half", 16), ("white", 32)):
        mask = Image.new("L", (32, 32))
        mask.paste(255, (32 - white, 0, 32, 32))
        mask.save(tmp_path / f"{name}.png")
    prompts, given = ["a {red|blue} (circle:2)"], tmp_path / "init.png"
    whole = [*TOGETHER, "edit.inpaint.strength=1"]
    with pytest.raises(UserError, match="by this mask nothing is painted anew"):
        paint("kept", prompts, whole, init=given, mask=tmp_path / "black.png")
    (white,), _ = paint("anew", prompts, whole, init=given, mask=tmp_path / "white.png")
    (plain,), _ = paint("plain", prompts, TOGETHER)
    assert (white == plain).all()
    half, said = paint("half-way", prompts, whole, init=given, mask=tmp_path / "half.png", n=3,
                       vary=0.5)  # fmt: skip
    assert all((each[:, :16] == np.asarray(init)[:, :16]).all() for each in half)
    assert len(np.unique(half, axis=0)) == 3
    assert len({text["prompt"] for text in said}) == 1, "variations are of one prompt"
