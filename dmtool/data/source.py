"""From a config to pictures, and to those of each split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

from datasets import Dataset

from dmtool.config.kinds import Builders
from dmtool.config.parts import Data, DataBase, EmojiData, FolderData, ShapesData
from dmtool.data import difference, emoji, folder, shapes, store
from dmtool.data.splits import Split, splits_of
from dmtool.data.store import BadFile, Source
from dmtool.errors import UserError
from dmtool.say import counted

__all__ = ["BadFile", "Source", "Split", "again", "held_out", "load", "split", "splits"]

KINDS: Builders[Callable[[Any], Source]] = Builders(
    "data", {EmojiData: emoji.load, ShapesData: shapes.load, FolderData: folder.load}
)

SHOWN = 3
"""Bad files that a line names."""


def load(config: Data) -> Source:
    """The source that a config names, from the cache or built now (with a progress bar).

    Raises UserError if there are no pictures, or if more than `max_bad` of the files are bad.
    """
    source = KINDS.of(config)(config)
    if len(source.bad) > config.max_bad * (len(source.bad) + len(source.dataset)):
        raise UserError(_too_many(source, config.max_bad))
    if not len(source.dataset):
        raise UserError("; ".join(["the data set has no pictures", *source.notes]))
    return source


def again(config: Data, card: dict[str, Any], path: str | None) -> Source:
    """The very pictures that a run was trained on: `config` is its data section, `card` what its
    card says of them.

    From the cache, wherever they were read from; else from where they stood, or stand now: `path`.
    UserError if they are not there, or are others.
    """
    if path is None and (found := store.known(card["fingerprint"])):
        return replace(found, earlier=tuple(card["earlier"]))
    loaded = _there(config, path)
    if loaded.fingerprint != card["fingerprint"]:
        raise UserError(
            f"these are not the pictures that the run was trained on "
            f"({difference.told(card['fingerprint'], card['pictures'], loaded)}; fingerprint "
            f"{card['fingerprint']}, now {loaded.fingerprint}): give their place as data.path=DIR"
        )
    return replace(loaded, earlier=tuple(card["earlier"]))


def _there(config: Data, path: str | None) -> Source:
    if path is None:
        try:
            return load(config)
        except UserError as error:
            raise UserError(
                f"the cache no longer holds the pictures that the run was trained on, and {error}; "
                "if they stand elsewhere now, add data.path=DIR"
            ) from error
    if "path" not in {field.name for field in fields(config)}:
        raise UserError(f"data.path={path}: the run was trained on data={config.kind}, no folder")
    there: dict[str, Any] = {"path": path}
    return load(replace(config, **there))


def split(source: Source, config: DataBase, name: Split) -> Dataset:
    """The examples of one split, in their order.

    A picture's split hangs on its key alone, so adding pictures never moves old ones: on a hash of
    it, or on the folder in it if folders are the splits. Raises UserError if nothing is left to
    train on.
    """
    return splits(source, config)[name]


def splits(source: Source, config: DataBase) -> dict[Split, Dataset]:
    """All splits by name, as `split` gives them."""
    rows: dict[Split, list[int]] = {name: [] for name in get_args(Split)}
    for row, name in enumerate(by_row(source, config)):
        rows[name].append(row)
    if not rows["train"]:
        raise UserError(
            f"none of the {counted(len(source.dataset), 'picture')} falls into the train split: "
            f"add pictures or lower data.val={config.val} and data.test={config.test}"
        )
    return {name: source.dataset.select(rows[name]) for name in rows}


def by_row(source: Source, config: DataBase) -> list[Split]:
    """Each picture's split: the one answer that training and evaluation go by."""
    keys = source.dataset.select_columns("key").with_format("arrow")[:]["key"].to_pylist()
    return list(splits_of(keys, config, source.folders))


def held_out(val_pictures: int, least: int = 1) -> Split:
    """The split that a training's figures are of: val, or train if that has fewer than `least`."""
    return "val" if val_pictures >= least else "train"


def report(source: Source) -> list[str]:
    """What a user should know before training: the pictures, what was left out, the licence."""
    lines = [counted(len(source.dataset), "picture"), *source.notes]
    if source.bad:
        lines.append(f"left out: {counted(len(source.bad), 'file')}: {_named(source.bad)}")
    return [*lines, *filter(None, [source.attribution])]


def _named(bad: Sequence[BadFile]) -> str:
    """The first bad files with their reasons, and how many more there are."""
    first = ", ".join(f"{name} ({reason})" for name, reason in bad[:SHOWN])
    return first + (f" and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else "")


def _too_many(source: Source, limit: float) -> str:
    count, total = len(source.bad), len(source.bad) + len(source.dataset)
    return (
        f"{count:,} of {total:,} files ({count / total:.1%}) are unusable, more than "
        f"data.max_bad={limit} allows: {_named(source.bad)}; mend or remove them, or raise "
        "data.max_bad"
    )
