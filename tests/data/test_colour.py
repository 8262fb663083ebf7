import io
from pathlib import Path

import icc
import numpy as np
import pytest
from PIL import Image, ImageCms

from dmtool.data import colour, source
from dmtool.data.pictures import Pictures
from dmtool.data.transforms import open_picture, read, to_rgb
from dmtool.measure.features import picture_folder

WHITE = (255, 255, 255)
LEVELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def stored(image, profile=None, kind="png", **options):
    file = io.BytesIO()
    image.save(file, kind, icc_profile=profile, **options)
    return file.getvalue()


def seen(data, profiles="convert"):
    return np.asarray(to_rgb(open_picture(data, 10**6), WHITE, profiles)).astype(float)


def off(data, expected):
    return np.abs(seen(data) - expected).max()


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
@pytest.mark.parametrize("name", ["p3", "adobe"])
def test_wide_colours_are_those_of_matrices_and_curves(name, kind):
    if name == "p3":
        profile, expected = icc.DISPLAY_P3, icc.in_srgb(icc.decoded(LEVELS), icc.P3)
    else:
        profile = icc.ADOBE_RGB
        expected = icc.in_srgb((LEVELS / 255) ** (563 / 256), icc.ADOBE)
    options = {"lossless": True} if kind == "webp" else {}
    data = stored(Image.fromarray(LEVELS), profile, kind, **options)
    assert np.abs(expected - LEVELS).max() > 30
    assert off(data, expected) <= 2
    assert (seen(data, "ignore") == LEVELS).all()


def test_inks_are_those_of_the_profiles_table():
    lab = np.random.default_rng(1).integers([20, -40, -40], [90, 40, 40], (2, 2, 2, 2, 3))
    lab[0, 0, 0, 0], lab[..., 1, :] = (100, 0, 0), (0, 0, 0)
    quantised = np.concatenate([(lab[..., :1] * 2.55).round() / 2.55, lab[..., 1:]], axis=-1)
    inks = np.indices((2, 2, 2, 2)).reshape(4, 16).T
    image = Image.fromarray((255 * inks.reshape(2, 8, 4)).astype(np.uint8), "CMYK")
    expected = icc.lab_in_srgb(quantised).reshape(2, 8, 3)
    assert off(stored(image, icc.cmyk(lab), "tiff"), expected) <= 2


def test_grey_of_8_and_16_bits_follows_its_curve():
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(2, 0)
    expected = icc.encoded((ramp / 255.0) ** 1.5)[..., None]
    for image in (Image.fromarray(ramp), Image.fromarray(ramp.astype(np.uint16) * 257)):
        assert off(stored(image, icc.grey(icc.gamma(1.5)), "tiff"), expected) <= 2
    adobe = icc.in_srgb(((ramp / 255.0) ** (563 / 256))[..., None].repeat(3, -1), icc.ADOBE)
    assert off(stored(Image.fromarray(ramp), icc.ADOBE_RGB), adobe) <= 2, "grey of an RGB space"


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_alpha_is_kept_and_the_ground_is_not_converted(mode):
    image = Image.fromarray(LEVELS).quantize(16).convert("RGBA")
    plain = np.asarray(image)[..., :3]
    image.putalpha(Image.fromarray(np.uint8([[255, 0] * 16] * 24)))
    if mode == "P":
        image = image.quantize(32)
        plain = np.asarray(image.convert("RGBA"))[..., :3]
    expected = icc.in_srgb(icc.decoded(plain), icc.P3)
    expected[:, 1::2] = 255
    assert off(stored(image, icc.DISPLAY_P3), expected) <= 2


def test_srgb_by_any_name_is_left_as_it_is_and_looked_at_once():
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (own, icc.rgb(icc.SRGB, icc.CURVE)):
        image = open_picture(stored(Image.fromarray(LEVELS), profile), 10**6)
        before = colour._read.cache_info().misses
        assert colour.to_srgb(image) is image and colour.to_srgb(image) is image
        assert colour._read.cache_info().misses == before + 1
    assert (seen(stored(Image.fromarray(LEVELS), own)) == LEVELS).all()


@pytest.fixture
def mixed(tmp_path, config):
    """A folder with a wide picture, a plain one, and two with profiles that cannot be used."""
    picture, folder = Image.fromarray(LEVELS[:, :24]), tmp_path / "pictures"
    folder.mkdir()
    profiles = {"wide": icc.DISPLAY_P3, "plain": None, "wrong": icc.grey(icc.gamma(2)),
                "broken": b"no profile"}  # fmt: skip
    for name, profile in profiles.items():
        (folder / f"{name}.png").write_bytes(stored(picture, profile))
    return config("folder", path=str(folder), val=0, test=0)


def test_training_evaluation_and_named_pictures_see_the_same(mixed, capsys):
    loaded = source.load(mixed)
    pictures = Pictures(loaded.dataset, mixed, 24, seed=0)
    for row, key in enumerate(loaded.dataset["key"]):
        path = f"{mixed.path}/{key}"
        trained = pictures[0, row]["image"]
        assert (trained == picture_folder.decoded(Path(path))).all()
        assert (np.asarray(read(Path(path), WHITE)) == trained.permute(1, 2, 0).numpy()).all()
        assert (trained.permute(1, 2, 0).numpy() == LEVELS[:, :24]).all() == (key != "wide.png")
    assert "wrong.png: its colour profile is of GRAY, its pixels are RGB" in capsys.readouterr().err


def test_profiles_are_named_counted_and_part_of_addresses(mixed, config):
    loaded = source.load(mixed)
    converted, bad = (note for note in loaded.notes if "profile" in note)
    assert converted.startswith("1 picture has a colour profile that is not sRGB")
    assert bad.startswith("2 colour profiles cannot be used") and "broken.png (its colour" in bad
    assert loaded.colours(mixed) == {"profiles": "convert"}
    assert not loaded.colours(config("folder", path=mixed.path, profiles="ignore"))
    assert not source.load(config("shapes", count=10, size=16)).colours(mixed)
    folder = picture_folder.folder(Path(mixed.path))
    assert folder.colours == folder.colours | {"profiles": "convert"}
    assert any("turned into sRGB by their colour profile" in note for note in folder.notes)
    assert any("cannot be used (broken.png, wrong.png): 2" in note for note in folder.notes)
