"""Pictures of the user's through the chain, in pixel space, with parts that cost nothing."""

import numpy as np
import pytest
import torch
from cards import of_pixels
from PIL import Image

from dmtool import codecs
from dmtool.chain.edit import Edit
from dmtool.chain.options import MaskFrom
from dmtool.chain.pipeline import Pipeline
from dmtool.chain.request import Request
from dmtool.config.compose import composed
from dmtool.config.using import SampleConfig
from dmtool.config.validation import validate
from dmtool.diffusion.denoise import Denoiser
from dmtool.diffusion.noise import schedule
from dmtool.errors import UserError
from dmtool.generators.diffusion import Diffusion
from dmtool.text.encoder import NoTextEncoder
from dmtool.upsamplers.diffusion import DiffusionUpsampler

ALPHA = MaskFrom.ALPHA
CPU = torch.device("cpu")


def chain(*words, upsampled=False, batch_size=4):
    config = validate(composed("sample", ["guidance.scale=1", *words]), SampleConfig)

    def network(x, level, cond):
        return torch.tanh(x.roll(1, -1) + cond.extras.get("low_res", 0))

    denoiser = Denoiser(network, schedule("flow"), "flow", "flow_time")
    upsampler = DiffusionUpsampler(denoiser, NoTextEncoder(), 2, 0.1, config.upsample.sampler)
    generator = Diffusion(
        name="tiny",
        card=of_pixels(8),
        denoiser=denoiser,
        text=NoTextEncoder(),
        sampler=config.sampler,
        guidance=config.guidance,
        device=CPU,
    )
    return Pipeline(
        generator=generator,
        codec=codecs.load(None, CPU),
        upsampler=upsampler if upsampled else None,
        device=CPU,
        dtype=torch.float32,
        batch_size=batch_size,
    )


def picture(size=(16, 16)):
    return Image.effect_noise(size, 60).convert("RGB")


def half(white_from=8):
    mask = Image.new("L", (16, 16))
    mask.paste(255, (white_from, 0, 16, 16))
    return mask


def hole(colour, left, right):
    """A picture that is transparent from one column to another."""
    image = Image.new("RGBA", (16, 16), colour)
    image.paste((0, 0, 0, 0), (left, 0, right, 16))
    return image


def arrays(images):
    return np.stack([np.asarray(image).astype(int) for image in images])


@pytest.mark.parametrize("upsampled", [False, True])
@pytest.mark.parametrize("kind", ["euler", "heun", "dpmpp_2m", "unipc", "ddpm"])
def test_masks_keep_what_is_black_and_paint_what_is_white(kind, upsampled):
    made = chain(f"sampler={kind}", "sampler.steps=8", upsampled=upsampled)
    init, plain = picture(), arrays(made.sample("", n=2))
    size = (16, 16) if upsampled else (8, 8)
    known = np.asarray(init.resize(size, Image.Resampling.BICUBIC)).astype(int)

    def painted(mask):
        edit = Edit.read(init, 1.0, mask=mask, repeats=3, jump=2)
        return arrays(made.sample("", n=2, edit=edit))

    assert (painted(half(0)) == plain).all()
    both = painted(half())
    middle = size[0] // 2
    assert (both[:, :, :middle] == known[:, :middle]).all()
    assert np.abs(both - known)[:, :, middle:].max() > 20 and (both[0] != both[1]).any()


def test_holes_are_painted_if_the_mask_is_taken_from_alpha():
    made, init = chain("sampler.steps=3"), picture()
    by_white = Edit.read(init, 1.0, mask=half())
    by_alpha = Edit.read(init, 1.0, mask=hole("red", 8, 16), mask_from=ALPHA)
    assert by_white.share == by_alpha.share == 0.5 and Edit.read(init, 1.0).share == 1
    first, second = (arrays(made.sample("", edit=edit)) for edit in (by_white, by_alpha))
    assert (first == second).all()
    assert by_alpha.settings["mask_from"] == "alpha" and "mask_from" not in by_white.settings


def test_files_are_read_once(tmp_path, monkeypatch):
    for name, image in {"a.png": picture(), "m.png": half()}.items():
        image.save(tmp_path / name)

    def taken(file):
        data = file.read_bytes()
        file.unlink()
        return data

    monkeypatch.setattr("dmtool.chain.edit.read_bytes", taken)
    found = Edit.read(tmp_path / "a.png", 1.0, mask=tmp_path / "m.png")
    assert found.share == 0.5 and found.settings["init"] != found.settings["mask"]


def test_a_soft_mask_mixes():
    edit = Edit.read(picture((8, 8)), 1.0, mask=Image.linear_gradient("L").resize((8, 8)))
    shares = np.asarray(edit.mask)[..., None] / 255
    mixed = (edit.pasted(torch.ones(1, 3, 8, 8))[0].permute(1, 2, 0).numpy() + 1) * 127.5
    expected = shares * 255 + (1 - shares) * np.asarray(edit.picture)
    np.testing.assert_allclose(mixed, expected, atol=1e-3)
    codec = codecs.load(None, CPU)
    paint = edit.given(codec, 8, CPU).paint[0, 0]
    assert (paint.numpy() == (np.asarray(edit.mask) >= 128)).all()


def test_variations_differ_by_seed_and_not_by_batch():
    words, init = ("sampler=ddpm", "sampler.steps=8"), picture()
    edits = [Edit.read(init, 0.5), Edit.read(init, 0.2, mask=half()), None]
    requests = [Request("", (0, i), edit=edit) for edit in edits for i in range(3)]
    one, four = (
        arrays([each.image() for each in chain(*words, batch_size=size).pictures(requests)])
        for size in (1, 4)
    )
    assert np.abs(one - four).max() <= 1
    assert len(np.unique(four, axis=0)) == 9


def test_borders_are_painted_around_the_picture():
    init = picture((8, 4))
    edit = Edit.read(init, 1.0, outpaint=(0, 3, 0, 1))
    assert edit.picture.size == edit.mask.size == (8, 8)
    (made,) = arrays(chain("sampler.steps=3").sample("", edit=edit))
    assert (made[3:7] == np.asarray(init)).all()
    assert np.asarray(edit.mask)[3:7].max() == 0 and np.asarray(edit.mask).sum() == 255 * 32
    masked = Edit.read(init, 1.0, outpaint=(0, 3, 0, 1), mask=Image.new("L", (8, 4), 255))
    assert masked.mask is None, "nothing is known: all of it is painted"


def test_what_it_costs_is_counted_and_said():
    made = chain("sampler=heun", "sampler.steps=10")
    half_way = made.settings(Edit.read(picture(), 0.5))
    assert (half_way["steps"], half_way["calls"], half_way["network_evaluations"]) == (5, 9, 9)
    again = made.settings(Edit.read(picture(), 1.0, mask=half(), repeats=3, jump=5))
    assert (again["steps"], again["calls"]) == (20, 37)
    assert again["edit"] | {"init": 0, "mask": 0} == {
        "init": 0, "strength": 1.0, "mask": 0, "outpaint": None, "repeats": 3, "jump": 5
    }  # fmt: skip
    assert "edit" not in made.settings() and made.settings()["calls"] == 19


@pytest.mark.parametrize(
    ("size", "options", "says"),
    [
        ((40, 30), {}, "40 x 30 pixels.*--outpaint 0,5,0,5"),
        ((16, 19), {}, "16 x 19 pixels.*--outpaint 1,0,2,0"),
        ((16, 16), {"mask": Image.new("L", (8, 16))}, "mask is 8 x 16 pixels, the picture 16 x 16"),
        ((16, 16), {"outpaint": (0, -1, 0, 1)}, "0,-1,0,1"),
        ((16, 16), {"strength": 0}, "outside"),
        ((16, 16), {"strength": float("nan")}, "outside"),
        ((16, 16), {"init": "nowhere.png"}, "nowhere.png is missing"),
        ((16, 16), {"mask": __file__}, "not a picture"),
        ((16, 16), {"mask": half(16)}, "nothing is painted anew: no pixel is more white"),
        ((16, 16), {"mask": Image.new("L", (16, 16), 127)}, "nothing is painted anew"),
        ((16, 16), {"mask": hole("black", 0, 8)}, "no pixel is more white.*--mask-from alpha"),
        ((16, 16), {"mask": hole("red", 0, 8)}, "the mask is in colours.*--mask-from alpha"),
        ((16, 16), {"mask": half(), "mask_from": ALPHA}, "the mask has no transparency"),
        ((16, 16), {"mask": hole("red", 0, 0), "mask_from": ALPHA}, "more transparent than opaque"),
        ((16, 16), {"outpaint": (90_000, 0, 0, 90_000)}, "90016 x 90016 pixels with borders"),
    ],
)
def test_what_does_not_fit_is_refused(size, options, says):
    with pytest.raises(UserError, match=says):
        Edit.read(**{"init": picture(size), "strength": 1.0} | options)
