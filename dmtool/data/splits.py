"""From a picture's key to its split: by a hash, or by the folder that it stands in."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from dmtool.config.parts import DataBase
from dmtool.data.walk import some
from dmtool.errors import UserError
from dmtool.say import counted

Split = Literal["train", "val", "test"]

Folders = Mapping[str, Split]
"""Which folders (their paths below the root) hold which split; none of them, if a hash decides."""

KEYWORDS: dict[Split, set[str]] = {
    "train": {"train", "training"},
    "val": {"validation", "valid", "dev", "val"},
    "test": {"test", "testing", "eval", "evaluation"},
}
"""Words in a folder's name that make it a split: those that Hugging Face's `datasets` knows."""

BETWEEN = re.compile(r"[-._ 0-9]+")
"""What stands between words there: `train2017` and `my-train` are train, `trains` is not."""


def split_of(key: str, config: DataBase) -> Split:
    """The split of the picture `key` where no folders say it."""
    return _by_hash(key, config.val, config.test)


def splits_of(keys: Iterable[str], config: DataBase, folders: Folders) -> Iterator[Split]:
    """The split of each picture.

    Those in a folder of val or test belong there. A split without a folder is cut by the hash from
    the others, of the share that the config says.
    """
    there = set(folders.values())
    val = 0.0 if "val" in there else config.val
    test = 0.0 if "test" in there else config.test
    for key in keys:
        given = _given(key, folders) if folders else None
        yield given if given in ("val", "test") else _by_hash(key, val, test)


def folders_of(pictures: Collection[str]) -> dict[str, Split]:
    """The folders that hold the splits of a set of pictures (paths below its root), if they do.

    Raises UserError if pictures stand outside of them, or if none is of train: whether the user's
    test pictures may be trained on is nothing to guess.
    """
    splits = look_like_splits(pictures)
    outside = [name for name in pictures if _given(name, splits) is None]
    advice = "or say data.splits=hash to draw the splits from all pictures"
    if splits and outside:
        stand = counted(len(outside), "picture stands", "pictures stand")
        raise UserError(
            f"{some(splits)} look like the splits of a data set, but {stand} outside of them "
            f"({some(outside)}): move those into one of them, {advice}"
        )
    if splits and "train" not in splits.values():
        raise UserError(
            f"{some(splits)} look like the splits of a data set without its train split: add that, "
            f"{advice}"
        )
    return splits


def look_like_splits(pictures: Iterable[str]) -> dict[str, Split]:
    """The folders whose names say a split, if they say two or more; the outermost of each path.

    What all pictures have in common says nothing.
    """
    places = {posixpath.dirname(name) for name in pictures}
    common = posixpath.commonpath(list(places)) if places else ""
    outermost = {place for place in (_place(folder, common) for folder in places) if place}
    found = {place: named(posixpath.basename(place)) for place in sorted(outermost)}
    splits = {place: split for place, split in found.items() if split}
    return splits if len(set(splits.values())) > 1 else {}


def named(folder: str) -> Split | None:
    """The split that a folder's name says, if it says one."""
    words = set(BETWEEN.split(folder.lower()))
    found = [split for split, keywords in KEYWORDS.items() if words & keywords]
    return found[0] if len(found) == 1 else None


def notes(folders: Folders, pictures: Iterable[str]) -> list[str]:
    """What the user should know of folders that are the splits."""
    if not folders:
        return []
    counts = Counter(_given(name, folders) for name in pictures)
    parts = []
    for split in KEYWORDS:
        names = [folder for folder, each in folders.items() if each == split]
        cut = f"{split} has no folder: the share data.{split} is drawn from train"
        parts.append(
            f"{split} is {some(names)} ({counted(counts[split], 'file')})" if names else cut
        )
    return [f"folders are taken as splits: {'; '.join(parts)}; data.splits=hash ignores them"]


def _by_hash(key: str, val: float, test: float) -> Split:
    """The key's sha256 as a uniform number in [0, 1): test is lowest, then val, then train."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if number < test:
        return "test"
    return "val" if number < test + val else "train"


def _place(folder: str, common: str) -> str:
    """The outermost folder on the way to `folder`, below `common`, that names a split; or ""."""
    path = common
    for part in folder[len(common) :].strip("/").split("/"):
        path = posixpath.join(path, part)
        if named(part):
            return path
    return ""


def _given(key: str, folders: Folders) -> Split | None:
    """The split of the folder that a picture stands in: the outermost that is one."""
    end = key.find("/")
    while end >= 0:
        if key[:end] in folders:
            return folders[key[:end]]
        end = key.find("/", end + 1)
    return None
