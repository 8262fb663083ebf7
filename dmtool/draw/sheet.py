"""Contact sheets: pictures in a grid with their captions below them."""

from __future__ import annotations

import unicodedata
from bisect import bisect
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

MARGIN, GAP, BORDER = 24, 16, 1
NARROWEST = 104  # pixels that a caption needs to be read
LINES = 6
FONT_SIZE, LINE_HEIGHT, ABOVE_TEXT = 13, 17, 8
PAPER, INK, FRAME = "white", (64, 68, 76), (226, 228, 232)


def contact_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], columns: int, scale: int = 1
) -> Image.Image:
    """A white sheet with `images` in rows of `columns`, each with its caption centred below it.

    Pictures are converted to RGB and enlarged `scale` times with hard pixels. Captions are
    wrapped to at most six lines and shortened with "…". Raises ValueError if there are no
    pictures, or not as many captions.
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"{len(images)} pictures and {len(captions)} captions")
    pictures = [_enlarged(image, scale) for image in images]
    width = max(NARROWEST, *(picture.width + 2 * BORDER for picture in pictures))
    texts = [_wrapped(caption, width) for caption in captions]
    starts = range(0, len(pictures), columns)
    columns = min(columns, len(pictures))
    rows = [
        _row(pictures[start : start + columns], texts[start : start + columns], width)
        for start in starts
    ]
    return _stacked(rows, 2 * MARGIN + columns * width + (columns - 1) * GAP)


def tile(pixels: Tensor, columns: int, gap: int = 2) -> Image.Image:
    """Pictures [N, 3, H, W] (uint8) in rows of `columns` on white, without captions."""
    height, width = pixels.shape[2] + gap, pixels.shape[3] + gap
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * width + gap, rows * height + gap), PAPER)
    for index, picture in enumerate(pixels.permute(0, 2, 3, 1).cpu().numpy()):
        row, column = divmod(index, columns)
        place = (gap + column * width, gap + row * height)
        sheet.paste(Image.fromarray(picture), place)
    return sheet


def _enlarged(image: Image.Image, scale: int) -> Image.Image:
    size = (image.width * scale, image.height * scale)
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _row(pictures: list[Image.Image], texts: list[list[str]], width: int) -> Image.Image:
    """One row, as high as its highest picture and its longest caption."""
    bottom, lines = max(picture.height for picture in pictures) + 2 * BORDER, max(map(len, texts))
    height = bottom + (ABOVE_TEXT + lines * LINE_HEIGHT if lines else 0)
    row = Image.new("RGB", (len(pictures) * (width + GAP), height), PAPER)
    draw = ImageDraw.Draw(row)
    for column, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        middle = column * (width + GAP) + width // 2
        framed = ImageOps.expand(picture, border=BORDER, fill=FRAME)
        row.paste(framed, (middle - framed.width // 2, bottom - framed.height))
        for number, line in enumerate(text):
            place = (middle, bottom + ABOVE_TEXT + number * LINE_HEIGHT)
            draw.text(place, line, INK, _font(), anchor="ma")
    return row


def _stacked(rows: list[Image.Image], width: int) -> Image.Image:
    height = 2 * MARGIN + sum(row.height for row in rows) + (len(rows) - 1) * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    top = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, top))
        top += row.height + GAP
    return sheet


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=FONT_SIZE)


def _wrapped(caption: str, width: int) -> list[str]:
    """The caption in at most `LINES` lines of at most `width` pixels."""
    lines: list[str] = []
    for word in _drawable(caption).split():
        if lines and _fits(f"{lines[-1]} {word}", width):
            lines[-1] += f" {word}"
        elif len(lines) < LINES:
            lines.append(word)
        else:
            lines[-1] += " …"
            break
    return [_cut(line, width) for line in lines]


def _drawable(text: str) -> str:
    """The text without accents, which Pillow's font lacks."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(part for part in parts if not unicodedata.combining(part))


def _cut(line: str, width: int) -> str:
    """The line, or as much of it as fits with "…" at its end."""
    if _fits(line, width):
        return line
    ends = range(2, min(len(line), width) + 1)
    end = 1 + bisect(ends, False, key=lambda end: not _fits(_shortened(line, end), width))
    return _shortened(line, end)


def _shortened(line: str, end: int) -> str:
    return f"{line[:end].rstrip(' …')}…"


def _fits(text: str, width: int) -> bool:
    """A character takes a pixel at least, and a longer text need not be measured."""
    return len(text) <= width and _font().getlength(text) <= width
