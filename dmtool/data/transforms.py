"""From a picture file's bytes to RGB pixels: on uint8 until the last moment.

Pictures are `PIL.Image.Image` until they are resized, then uint8 tensors (CHW, 0 to 255), then
floats in [-1, 1].
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dmtool.errors import UserError

WIDE = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
"""Modes of grey pictures with 16 bits a pixel; some versions of Pillow open them as `I`."""

MODES = WIDE | {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}

MAX_PIXELS = 2**26
"""Of a picture that the user names."""

_limit = threading.Lock()


def open_picture(data: bytes, max_pixels: int) -> Image.Image:
    """Open a picture file's bytes (header only, pixels are read later).

    Raises ValueError if it has more than `max_pixels` pixels (a decompression bomb) or a mode
    (32-bit floats, say) that has no plain meaning as RGB, and whatever Pillow raises for bytes
    that are no picture.
    """
    with _own_limit():
        image = Image.open(io.BytesIO(data))
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(
            f"{width} x {height} is {width * height} pixels, more than data.max_pixels={max_pixels}"
        )
    if image.mode not in MODES:
        raise ValueError(f"mode {image.mode!r} is not 8 or 16 bits of grey, RGB, CMYK or a palette")
    return image


def read(file: Path, background: tuple[int, int, int]) -> Image.Image:
    """A picture file named by the user, as RGB; UserError if it is missing or unreadable."""
    try:
        return to_rgb(open_picture(file.read_bytes(), MAX_PIXELS), background)
    except UnidentifiedImageError as error:
        raise UserError(f"{file} is not a picture that can be decoded") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} cannot be read as a picture: {error}") from error


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """The picture upright (EXIF), 8-bit RGB, composited over `background` where transparent."""
    image = ImageOps.exif_transpose(image)
    if image.mode in WIDE:
        return _narrow(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, (*background, 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def resize(image: Image.Image, resolution: int) -> Image.Image:
    """Scale so that the shorter side is `resolution` pixels: bicubic, antialiased."""
    width, height = image.size
    shorter = min(width, height)
    if shorter == resolution:
        return image
    scaled = round(width * resolution / shorter), round(height * resolution / shorter)
    return image.resize(scaled, Image.Resampling.BICUBIC)


def load(data: bytes, resolution: int, background: tuple[int, int, int]) -> Image.Image:
    """Decode a known good picture file to RGB with its shorter side at `resolution` pixels.

    Large JPEG files are decoded at a fraction of their size (a box filter on whole blocks) that
    is at least twice `resolution`, which is several times faster and looks the same.
    """
    with _own_limit():
        image = Image.open(io.BytesIO(data))
    image.draft(None, (2 * resolution, 2 * resolution))
    return resize(to_rgb(image, background), resolution)


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


def _narrow(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float32)
    return Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))


@contextmanager
def _own_limit() -> Iterator[None]:
    """Lift Pillow's global limit of pixels for a moment: `data.max_pixels` stands in its place."""
    with _limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
