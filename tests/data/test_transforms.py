import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dmtool.data import transforms
from dmtool.errors import UserError

RED, GREEN, BLUE, GROUND = (255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 20, 30)


def stored(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def rgb(data):
    return np.asarray(transforms.to_rgb(transforms.open_picture(data, 10**6), GROUND))


def half(mode, left, right):
    image = Image.new(mode, (8, 4), right)
    image.paste(left, (0, 0, 4, 4))
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBA palette", "tRNS palette", "tRNS grey"])
def test_transparent_pixels_show_the_background(mode):
    if mode == "LA":
        image, options = half("LA", (200, 255), (90, 0)), {}
    elif mode == "RGBA":
        image, options = half("RGBA", (200, 200, 200, 255), (255, 0, 0, 0)), {}
    elif mode == "RGBA palette":
        image = half("RGBA", (200, 200, 200, 255), (255, 0, 0, 0)).quantize(2)
        options = {}
    elif mode == "tRNS palette":
        image, options = half("P", 0, 1), {"transparency": 1}
        image.putpalette([200, 200, 200, 255, 0, 0])
    else:
        image, options = half("L", 200, 90), {"transparency": 90}
    pixels = rgb(stored(image, "png", **options))
    assert (pixels[:, :4] == 200).all() and (pixels[:, 4:] == GROUND).all()


def test_half_transparent_is_half_way():
    pixels = rgb(stored(Image.new("RGBA", (2, 2), (210, 220, 230, 128)), "png"))
    assert np.abs(pixels - np.array([110.4, 120.4, 130.4])).max() <= 1


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    ramp = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    pixels = rgb(stored(Image.fromarray(ramp), kind))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_cmyk_jpeg_keeps_its_colours():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(rgb(stored(image, "jpeg", quality=95)).astype(int) - RED).max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(orientation):
    upright = Image.new("RGB", (6, 4), BLUE)
    upright.paste(RED, (0, 0, 2, 2))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (rgb(stored(image, "png", exif=exif)) == np.asarray(upright)).all()


def test_too_many_pixels_are_refused_before_decoding_and_pillows_limit_stays():
    data = stored(Image.new("1", (20_000, 10_000)), "png")
    limit = Image.MAX_IMAGE_PIXELS
    assert transforms.open_picture(data, 200_000_000).size == (20_000, 10_000)
    with pytest.raises(ValueError, match=r"200000000 pixels, more than data\.max_pixels=199999999"):
        transforms.open_picture(data, 199_999_999)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in ("/dev/zero", tmp_path / "pipe.png"):
        with pytest.raises(UserError, match=f"^{path} cannot be read: it is no file"):
            transforms.read(Path(path), GROUND)


def test_resize_agrees_with_torchs_antialiased_bicubic_and_keeps_the_aspect():
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    small = transforms.resize(Image.fromarray(noise), 16)
    peer = torch.nn.functional.interpolate(
        torch.from_numpy(noise).permute(2, 0, 1)[None].double(),
        (16, 24),
        mode="bicubic",
        antialias=True,
    )
    assert small.size == (24, 16)
    assert (transforms.to_pixels(small).double() - peer[0]).abs().max() <= 1.01
    assert transforms.resize(small, 16) is small


def test_large_jpegs_are_decoded_smaller_to_the_same_picture():
    y, x = np.mgrid[:800, :1200] / 800
    smooth = np.stack([255 * x / 1.5, 255 * y, 127 + 100 * np.sin(9 * x)], -1).astype(np.uint8)
    data = stored(Image.fromarray(smooth), "jpeg", quality=95)
    quick = transforms.resize(transforms.decode(data, 32, GROUND), 32)
    exact = transforms.resize(Image.fromarray(smooth), 32)
    assert quick.size == (48, 32)
    assert np.abs(np.asarray(quick).astype(int) - np.asarray(exact)).max() <= 6


def test_uint8_float_and_image_are_inverses():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).repeat(3, 1, 1)
    floats = transforms.to_tensor(pixels)
    assert floats.min() == -1 and floats.max() == 1
    assert torch.equal(transforms.to_uint8(floats), pixels)
    assert torch.equal(transforms.to_pixels(transforms.to_image(pixels)), pixels)
    assert transforms.to_uint8(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


@pytest.mark.parametrize("size", [(1, 20_000), (900, 50), (7, 200), (3000, 170)])
def test_of_a_long_picture_only_the_square_is_scaled(size, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image, resolution = Image.fromarray(noise), 32
    width, height = transforms.scaled(size, resolution)
    whole = np.asarray(transforms.resize(image, resolution)).astype(int)
    made, resized = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda *words: made.append(words[1]) or resized(*words)
    )
    for down, right in [(0, 0), (0.5, 0.5), (0.3, 0.8), (0.999999, 0.999999)]:
        part = np.asarray(transforms.square(image, resolution, down, right)).astype(int)
        top, left = (int(s * (n - 31)) for s, n in ((down, height), (right, width)))
        same = whole[top : top + resolution, left : left + resolution]
        assert part.shape == (32, 32, 3) and np.abs(part - same).max() <= 1
    assert made == [(32, 32)] * 4


@pytest.mark.parametrize(("mode", "kind", "ok"), [
    ("I", "tiff", False), ("F", "tiff", False), ("I;16", "tiff", True), ("I;16", "png", True),
    ("I", "ppm", True),
])  # fmt: skip
def test_values_without_a_white_are_refused_and_16_bits_are_grey(mode, kind, ok):
    data = stored(Image.new(mode, (8, 8), 40_000), kind)
    if ok:
        assert (rgb(data) == round(40_000 / 257)).all()
    else:
        with pytest.raises(ValueError, match=r"save it with 8 or 16 bits|mode 'F' is not 8 or 16"):
            transforms.open_picture(data, 10**6)
