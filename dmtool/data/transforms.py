"""From a picture file's bytes to RGB pixels: on uint8 until the last moment.

Pictures are `PIL.Image.Image` until they are resized, then uint8 tensors (CHW, 0 to 255), then
floats in [-1, 1].
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import truediv
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from dmtool.data.colour import WIDE, profile, to_srgb
from dmtool.errors import UserError
from dmtool.files import reading
from dmtool.say import say

Profiles = Literal["convert", "ignore"]

MODES = WIDE | {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}

MAX_PIXELS, LIMIT = 2**26, "the limit of "
"""Of a picture that the user names."""

LARGEST = 2**30
"""Bytes of its file."""

_limit = threading.Lock()


LONGEST = 16
"""Times its shorter side: of a picture that is longer nothing is scaled but what is seen."""

DEPTH, FORMAT, UNSIGNED = 258, 339, 1
"""TIFF's tags of bits a sample and of the kind of its numbers, and the kind that is no other."""


def header(data: bytes) -> Image.Image:
    """A picture file's bytes opened, of whatever size and mode; pixels are read later.

    Raises whatever Pillow raises for bytes that are no picture.
    """
    with _own_limit():
        return Image.open(io.BytesIO(data))


def open_picture(data: bytes, max_pixels: int, limit: str = "data.max_pixels=") -> Image.Image:
    """Open a picture file's bytes (header only, pixels are read later).

    Raises ValueError if it has more than `max_pixels` pixels (a decompression bomb) or values (of
    32 bits, say) that have no plain meaning as RGB, and whatever Pillow raises for bytes that are
    no picture. `limit` names the limit in words.
    """
    image = header(data)
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(
            f"{width} x {height} is {width * height} pixels, more than {limit}{max_pixels}"
        )
    if image.mode not in MODES:
        raise ValueError(f"mode {image.mode!r} is not 8 or 16 bits of grey, RGB, CMYK or a palette")
    if image.mode == "I" and isinstance(image, TiffImageFile) and _scientific(image):
        raise ValueError(
            "its values are signed or of 32 bits, and nothing says which of them is white: save it "
            "with 8 or 16 bits"
        )
    return image


def read_bytes(file: Path) -> bytes:
    """The bytes of a picture file that the user names; UserError if it is none, or too large."""
    return reading.read_bytes(file, LARGEST)


def read(
    file: Path,
    background: tuple[int, int, int],
    profiles: Profiles = "convert",
    data: bytes | None = None,
) -> Image.Image:
    """A picture file named by the user, as RGB; UserError if it is missing or unreadable.

    A colour profile that cannot be used is warned of. `data` is what the file holds, if it has been
    read.
    """
    with _named(file):
        image = open_picture(data or read_bytes(file), MAX_PIXELS, LIMIT)
        if profiles == "convert" and (fault := profile(image).fault):
            say(f"{file}: {fault}, it is taken as sRGB", error=True)
        return to_rgb(image, background, profiles)


def read_alpha(file: Path, data: bytes) -> Image.Image | None:
    """The `alpha` of a picture file named by the user, which holds `data`; UserError as of
    `read`."""
    with _named(file):
        return alpha(open_picture(data, MAX_PIXELS, LIMIT))


def alpha(image: Image.Image) -> Image.Image | None:
    """How opaque the picture is, upright, mode L; None if nothing of it is transparent."""
    if not image.has_transparency_data:
        return None
    return ImageOps.exif_transpose(image).convert("RGBA").getchannel("A")


def to_rgb(
    image: Image.Image, background: tuple[int, int, int], profiles: Profiles = "convert"
) -> Image.Image:
    """The picture upright (EXIF), 8-bit RGB, composited over `background` where transparent.

    Its colours are converted to sRGB by its profile, or, with `ignore`, its numbers are taken as
    they are.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in WIDE:
        image = _narrow(image)
    if profiles == "convert":
        image = to_srgb(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, (*background, 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def resize(image: Image.Image, resolution: int) -> Image.Image:
    """Scale so that the shorter side is `resolution` pixels: bicubic, antialiased."""
    if min(image.size) == resolution:
        return image
    return image.resize(scaled(image.size, resolution), Image.Resampling.BICUBIC)


def scaled(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """Width and height when the shorter of them is `resolution` pixels."""
    width, height = size
    shorter = min(size)
    return round(width * resolution / shorter), round(height * resolution / shorter)


def square(image: Image.Image, resolution: int, down: float, right: float) -> Image.Image:
    """A square of `resolution` pixels of the scaled picture.

    Its place is given as shares, in [0, 1), of the room there is. Of a long picture that part alone
    is scaled, so that the memory is that of the square.
    """
    width, height = scaled(image.size, resolution)
    left, top = place(width, resolution, right), place(height, resolution, down)
    if is_long(image.size):
        return _window(image, resolution, top, left)
    return resize(image, resolution).crop((left, top, left + resolution, top + resolution))


def place(length: int, size: int, share: float) -> int:
    """Where a part of `size` pixels begins."""
    return int(share * (length - size + 1))


def is_long(size: tuple[int, int]) -> bool:
    """Whether a picture is so long that it is never scaled as a whole."""
    return max(size) > LONGEST * min(size)


def decode(
    data: bytes, resolution: int, background: tuple[int, int, int], profiles: Profiles = "convert"
) -> Image.Image:
    """Decode a known good picture file to RGB, its shorter side `resolution` pixels or more.

    Large JPEG files are decoded at a fraction of their size (a box filter on whole blocks) that
    is at least twice `resolution`, which is several times faster and looks the same.
    """
    image = header(data)
    image.draft(None, (2 * resolution, 2 * resolution))
    return to_rgb(image, background, profiles)


def crop(image: Tensor, size: int, top: int, left: int) -> Tensor:
    """The square of `size` pixels at (top, left) of a CHW or BCHW tensor, as a view."""
    assert 0 <= top <= image.shape[-2] - size and 0 <= left <= image.shape[-1] - size
    return image[..., top : top + size, left : left + size]


def to_pixels(image: Image.Image) -> Tensor:
    """An RGB picture as a uint8 tensor, CHW."""
    assert image.mode == "RGB"
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def to_tensor(pixels: Tensor) -> Tensor:
    """uint8 in 0 to 255 -> float32 in [-1, 1], any shape."""
    assert pixels.dtype == torch.uint8
    return pixels.float() / 127.5 - 1


def to_uint8(image: Tensor) -> Tensor:
    """Float in [-1, 1] (clamped) -> uint8, any shape; the inverse of `to_tensor`."""
    return ((image.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_image(pixels: Tensor) -> Image.Image:
    """A uint8 tensor, CHW with 3 channels -> an RGB picture."""
    assert pixels.dtype == torch.uint8 and pixels.ndim == 3
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())


def _window(image: Image.Image, resolution: int, top: int, left: int) -> Image.Image:
    """The square of `resolution` pixels at (top, left) of the scaled picture, scaled alone.

    It is a crop of `resize`, but for rounding.
    """
    across, down = map(truediv, image.size, scaled(image.size, resolution))
    x, width = _reach(left * across, (left + resolution) * across, across, image.width)
    y, height = _reach(top * down, (top + resolution) * down, down, image.height)
    part = image.crop((x, y, x + width, y + height))
    box = (
        left * across - x,
        top * down - y,
        min((left + resolution) * across - x, width),
        min((top + resolution) * down - y, height),
    )
    return part.resize((resolution, resolution), Image.Resampling.BICUBIC, box)


def _narrow(image: Image.Image) -> Image.Image:
    """16 bits of grey in 8, with the profile that they had."""
    values = np.asarray(image).astype(np.float32)
    narrow = Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))
    narrow.info["icc_profile"] = image.info.get("icc_profile", b"")
    return narrow


def _scientific(image: TiffImageFile) -> bool:
    """Whether the integers of a TIFF file are others than 16 bits without sign."""
    depth, signs = image.tag_v2.get(DEPTH, (1,)), image.tag_v2.get(FORMAT, (UNSIGNED,))
    return depth[0] > 16 or signs[0] != UNSIGNED


def _reach(first: float, last: float, scale: float, end: int) -> tuple[int, int]:
    """Where the pixels begin, and how many there are, that make those from `first` to `last`.

    Bicubic's kernel reaches over two pixels, of the result where that is smaller.
    """
    beyond = 2 * max(scale, 1) + 1
    begin = max(0, math.floor(first - beyond))
    return begin, min(end, math.ceil(last + beyond)) - begin


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """What goes wrong within it is said of the file, as a UserError."""
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{file} is not a picture that can be decoded") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{file} cannot be read as a picture: {error}") from error


@contextmanager
def _own_limit() -> Iterator[None]:
    """Lift Pillow's global limit of pixels for a moment: `data.max_pixels` stands in its place."""
    with _limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
