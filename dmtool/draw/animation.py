"""Pictures that move: frames in one WebP or GIF file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image, features

from dmtool.config.using import Animation
from dmtool.errors import UserError
from dmtool.files import outputs

MARK = outputs.MARK.encode()
SEEN = 128
"""Pixels that small frames are enlarged to at least, by a whole factor."""


def check(config: Animation) -> None:
    """UserError if the installed Pillow cannot write the format."""
    if config.format == "webp" and not features.check("webp"):
        raise UserError("this Pillow was built without WebP: set animation.format=gif")


def save(path: Path, frames: Iterable[Image.Image], config: Animation) -> Path:
    """Write frames, one or more of one size, to `path` with the format's suffix; returns where.

    A frame is shown for `config.seconds`, the last for `config.hold`. WebP keeps every value;
    GIF has 256 colours a frame. All frames of one file are held in memory.
    """
    first, *others = (_enlarged(frame) for frame in frames)
    seconds = [config.seconds] * len(others) + [config.hold]
    webp = config.format == "webp"
    options: dict[str, Any] = {"lossless": True, "xmp": MARK} if webp else {"comment": MARK}
    path = path.with_name(f"{path.name}.{config.format}")
    milliseconds = [round(1000 * each) for each in seconds]
    first.save(path, save_all=True, append_images=others, duration=milliseconds, loop=0, **options)
    return path


def _enlarged(frame: Image.Image) -> Image.Image:
    factor = max(1, -(-SEEN // frame.height))
    return frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)
