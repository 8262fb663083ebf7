"""Where results go: looked at before any work, so that none is lost there and nothing destroyed.

A result takes the place of an earlier one of its kind, and of nothing else. What dmtool has written
is known by its content: a JSON file by its keys, a picture by the mark that it bears.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from dmtool.errors import UserError
from dmtool.files import reading

MARK = "dmtool"
HEAD = 8192
"""Bytes of a page or a drawing in which its mark stands."""

FILES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".json"}
"""How no new folder's name may end: a file was meant."""

LARGEST = 1 << 28
"""Bytes of a JSON file that is looked at."""


@dataclass(frozen=True)
class ResultKind:
    """A kind of result: what a user calls it, whether a file is one, and how its name may end."""

    name: str
    ours: Callable[[Path], bool]
    suffixes: tuple[str, ...] = ()


def _json(*keys: str) -> Callable[[Path], bool]:
    def ours(path: Path) -> bool:
        return set(keys) <= reading.read_json(path, dict[str, Any], LARGEST).keys()

    return ours


def _picture(path: Path) -> bool:
    """A PNG, GIF or WebP that `save_picture` or `dmtool sample` wrote, or a drawing of ours."""
    if path.suffix.lower() == ".svg":
        return MARK.encode() in _head(path)
    with reading.opened(path) as opened, Image.open(opened) as image:
        marks = (image.info.get(name, "") for name in ("Software", "comment", "xmp"))
        return "settings" in image.info or any(MARK in _text(mark) for mark in marks)


def _page(path: Path) -> bool:
    return b"This page holds all that it shows" in _head(path)


def _statistics(path: Path) -> bool:
    with zipfile.ZipFile(path) as file:
        return {"mu.npy", "sigma.npy", "extractor.npy"} <= {*file.namelist()}


EVALUATION = ResultKind("file of an evaluation", _json("figures"))
DUPLICATES = ResultKind("list of dmtool duplicates", _json("pairs", "threshold"))
PLAN = ResultKind("plan of dmtool plan", _json("stage", "parameters", "devices"))
CURVE = ResultKind("curve of dmtool check-run", _json("stage", "settings", "points"))
DEFAULTS = ResultKind("file of dmtool tune-sampler", _json("found"))
PICTURE = ResultKind("picture made by dmtool", _picture, (".png",))
DRAWING = ResultKind("drawing made by dmtool", _picture, (".png", ".svg"))
MOVING = ResultKind("animation made by dmtool", _picture, (".webp", ".gif"))
PAGE = ResultKind("page of dmtool report", _page)
STATISTICS = ResultKind("file of dmtool stats", _statistics)


def file(path: Path | str, kind: ResultKind, option: str = "--out") -> Path:
    """The place of a result, `~` expanded; UserError if it cannot be written there, or if what
    stands there is no result of this kind."""
    path = Path(path).expanduser()
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder: name a file in it")
    if kind.suffixes and path.suffix.lower() not in kind.suffixes:
        raise UserError(f"{option} {path}: its name must end in {' or '.join(kind.suffixes)}")
    if path.exists() or path.is_symlink():
        _check_replaced(path, kind, option)
    _check_writable(path.parent, option)
    return path


def folder(path: Path | str, option: str = "--out") -> Path:
    """A folder for results, `~` expanded, which may be there or not; UserError if it cannot be, or
    if its name is a file's."""
    path = Path(path).expanduser()
    if path.suffix.lower() in FILES and not path.exists():
        raise UserError(f"{option} {path}: results go into a folder, and this is a file's name")
    _check_writable(path, option)
    return path


def save_picture(image: Image.Image, path: Path, **texts: str) -> None:
    """Write a PNG that says what wrote it, with further texts by name."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", MARK)
    for name, text in texts.items():
        info.add_itxt(name, text)
    image.save(path, pnginfo=info)


def texts(path: Path) -> dict[str, str]:
    """The texts of a picture of ours; none of any other file."""
    if not known(path, PICTURE):
        return {}
    with Image.open(path) as image:
        return {str(name): str(text) for name, text in image.info.items()}


def known(path: Path, kind: ResultKind) -> bool:
    """Whether a file is a result of a kind; one that cannot be read is none."""
    try:
        return path.is_file() and kind.ours(path)
    except Exception:  # decoders raise anything
        return False


def _check_replaced(path: Path, kind: ResultKind, option: str) -> None:
    if not known(path, kind):
        raise UserError(
            f"{option} {path}: what stands there is no {kind.name}, and is not replaced: name "
            "another place, or move it away"
        )
    if not os.access(path, os.W_OK):
        raise UserError(f"{option} {path} cannot be written to: name another place")


def _check_writable(folder: Path, option: str) -> None:
    """UserError unless files can be made in the folder, or in one that can be made."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise UserError(f"{option}: {there} is a file, and no folder: name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{option}: nothing can be written to {there}: name another place")


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def _text(mark: object) -> str:
    return mark.decode(errors="replace") if isinstance(mark, bytes) else str(mark)
