"""A folder of pictures with captions, read as they are."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from dmtool.data import captions
from dmtool.data.splits import look_like_splits
from dmtool.data.transforms import header, read_bytes
from dmtool.data.walk import some, walk
from dmtool.errors import UserError
from dmtool.measure.features.picture_folder import decoded
from dmtool.say import counted


def captioned(folder: Path) -> list[tuple[Path, str]]:
    """The pictures below a folder with the first caption of each.

    A caption is found as in `data.captions`, or else is the prompt that `dmtool sample` writes into
    its PNG files. UserError if there are no pictures, or one has no caption: leaving it out would
    change the figure.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of pictures")
    listing = walk(folder)
    pictures = listing.pictures
    if not pictures:
        raise UserError("; ".join([f"{folder} has no pictures", *listing.notes]))
    places = captions.find(pictures, listing.others)
    found = captions.read(folder, pictures, places, look_like_splits(pictures))
    if found.bad:
        named = some(f"{name}: {reason}" for name, reason in found.bad.items())
        raise UserError(f"{counted(len(found.bad), 'caption')} in {folder} cannot be used: {named}")
    pairs = {name: next(iter(found.of.get(name, [])), _prompt(folder / name)) for name in pictures}
    without = [name for name, caption in pairs.items() if not caption]
    if without:
        told = f"{len(without)} of {len(pictures)} pictures in {folder} have no caption"
        advice = "give them a metadata.jsonl, or .txt files beside them"
        raise UserError("; ".join([f"{told}: {some(without)}", advice, *places.notes]))
    return [(folder / name, caption) for name, caption in pairs.items()]


def read_picture(path: Path) -> Tensor:
    """A picture over white, uint8 [3, H, W]; UserError if it cannot be read."""
    try:
        return decoded(path)
    except Exception as error:  # decoders raise anything
        raise UserError(f"{path} cannot be read: {error}; mend or remove it") from error


def read_square(path: Path) -> Tensor:
    """As `read_picture`, but UserError if it is not square: then no program can judge it."""
    picture = read_picture(path)
    height, width = picture.shape[1:]
    if height != width:
        raise UserError(f"{path} is {width} x {height}: pictures of shapes must be square")
    return picture


def _prompt(path: Path) -> str:
    """The prompt that a PNG file says it was made for, or ""."""
    try:
        return str(header(read_bytes(path)).info.get("prompt", ""))
    except Exception:  # decoders raise anything: what is unreadable is named when it is read
        return ""
