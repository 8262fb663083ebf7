"""From a picture's key to its split."""

from __future__ import annotations

import hashlib
from typing import Literal

from dmtool.schemas import DataBase

Split = Literal["train", "val", "test"]


def split_of(key: str, config: DataBase) -> Split:
    """The split of the picture `key`: its sha256 as a uniform number in [0, 1), test lowest."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if number < config.test:
        return "test"
    return "val" if number < config.test + config.val else "train"
