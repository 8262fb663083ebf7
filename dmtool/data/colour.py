"""Embedded colour profiles (ICC): what a picture's numbers mean, and the same colours in sRGB.

Colours are matched relative to white, with black-point compensation. A profile under which no
colour moves by more than `SAME` levels is sRGB in all but name: such pictures are left as they are.
Only profiles count: PNG's `gAMA` and `cHRM`, and AVIF's and PNG's CICP numbers, do not.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

WIDE = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
"""Modes of grey pictures with 16 bits a pixel; some versions of Pillow open them as `I`."""

GREY = {"1", "L", "LA"} | WIDE
SAME = 2  # of 255
GRID = 17  # values of each channel that a profile is tried on
KEPT = 16  # profiles whose transforms are remembered
SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Pillow's modes of the spaces that profiles are of."""


class Profile(NamedTuple):
    """What a picture's profile asks for: pixels of a mode through a transform; no transform if it
    asks for nothing, and then `fault` says why it cannot be used, if that is so."""

    mode: str = ""
    transform: ImageCms.ImageCmsTransform | None = None
    fault: str = ""


def profile(image: Image.Image) -> Profile:
    """The profile of a picture, from its header."""
    data = image.info.get("icc_profile", b"")
    if data is None:  # Pillow found pieces that are no whole
        return Profile(fault="its colour profile is damaged")
    return _read(data, _space(image.mode)) if data else Profile()


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture with its colours in sRGB: mode RGB, or RGBA if it has transparent parts.

    It is returned as it is if its profile asks for nothing, or cannot be used.
    """
    mode, transform, _ = profile(image)
    if transform is None:
        return image
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    plain = image.convert("RGBA") if image.mode == "RGBa" else image
    converted = ImageCms.applyTransform(plain.convert(mode), transform)
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _space(mode: str) -> str:
    """Pillow's plain mode of the space that pixels of a mode are in."""
    return "CMYK" if mode == "CMYK" else "L" if mode in GREY else "RGB"


@lru_cache(KEPT)
def _read(data: bytes, mode: str) -> Profile:
    """A profile's bytes, of a picture whose pixels are L, RGB or CMYK."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = opened.profile.xcolor_space
        takes = SPACES.get(space, "")
        if takes != mode and (mode, takes) != ("L", "RGB"):
            return Profile(fault=f"its colour profile is of {space.strip()}, its pixels are {mode}")
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            takes,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return Profile(fault=f"its colour profile cannot be read ({error})")
    return Profile() if _changes_nothing(takes, transform) else Profile(takes, transform)


def _changes_nothing(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    if mode == "CMYK":
        return False
    colours = _colours() if mode == "RGB" else np.arange(256, dtype=np.uint8)[None]
    before = Image.fromarray(colours)
    after = ImageCms.applyTransform(before, transform)
    moved = np.asarray(after).astype(int) - np.asarray(before.convert("RGB"))
    return bool(np.abs(moved).max() <= SAME)


def _colours() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A picture [1, GRID ** 3, 3] of the whole cube."""
    levels = np.linspace(0, 255, GRID).round().astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
