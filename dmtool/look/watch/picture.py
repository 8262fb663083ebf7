"""A picture in a terminal: each character is two pixels, the upper half block on a ground."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from PIL import Image

from dmtool.look.watch.terminal import Colours

Pixel = tuple[int, ...]
RESET = "\x1b[0m"


def blocks(image: Image.Image, width: int, height: int, colours: Colours) -> list[str]:
    """At most `height` lines of at most `width` characters with the whole picture, in its shape."""
    scale = min(width / image.width, 2 * height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale / 2)) * 2
    pixels = image.convert("RGB").resize(size, Image.Resampling.BOX).load()
    assert pixels is not None
    code, columns = _true if colours == "true" else _indexed, range(size[0])
    return [
        _line([(cast(Pixel, pixels[x, y]), cast(Pixel, pixels[x, y + 1])) for x in columns], code)
        for y in range(0, size[1], 2)
    ]


def _line(pairs: list[tuple[Pixel, Pixel]], code: Callable[[Pixel], str]) -> str:
    """Colours are said where they change."""
    line, before = "", None
    for pair in pairs:
        if pair != before:
            line += f"\x1b[38;{code(pair[0])};48;{code(pair[1])}m"
        line, before = line + "▀", pair
    return line + RESET


def _true(pixel: Pixel) -> str:
    return "2;" + ";".join(map(str, pixel))


def _indexed(pixel: Pixel) -> str:
    """The nearest colour of the 6 x 6 x 6 cube, whose levels are 0, 95, 135, 175, 215, 255."""
    red, green, blue = (0 if value < 48 else max(1, round((value - 55) / 40)) for value in pixel)
    return f"5;{16 + 36 * red + 6 * green + blue}"
