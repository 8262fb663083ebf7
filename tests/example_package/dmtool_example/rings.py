"""A source: rings of one colour each, with its name as the caption."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from PIL import Image, ImageDraw
from pydantic import Field

from dmtool.config.base import Count
from dmtool.config.kinds import Plugin
from dmtool.config.parts import DataBase
from dmtool.data.store import Example, Source, stored

COLOURS = ("red", "green", "blue")


@dataclass(frozen=True, kw_only=True)
class Rings(DataBase):
    """`count` pictures of `size` pixels."""

    kind: Literal["dmtool-example:rings"]
    size: Annotated[int, Field(ge=8)]
    count: Count


def rings(config: Rings) -> Source:
    """From the cache, or drawn now."""
    key = {"kind": config.kind, "size": config.size, "count": config.count}
    return stored(key, lambda _: _drawn(config))


def _drawn(config: Rings) -> Iterator[Example]:
    for index in range(config.count):
        colour, edge = COLOURS[index % len(COLOURS)], index % (config.size // 4)
        picture = Image.new("RGB", (config.size, config.size), "white")
        box = (edge, edge, config.size - 1 - edge, config.size - 1 - edge)
        ImageDraw.Draw(picture).ellipse(box, outline=colour, width=2)
        file = io.BytesIO()
        picture.save(file, "png")
        yield Example(f"{index:06d}", [f"{colour} ring"], file.getvalue())


RINGS = Plugin(Rings, rings)
