"""Which pictures of a reference take part in what is of all pairs, if they are too many."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lot:
    """At most `most` pictures (None: all), drawn by their `keys` and the seed alone.

    A picture's place in the set, and what else is in it, does not change whether it goes before
    another one.
    """

    keys: Sequence[str]
    most: int | None
    seed: int

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows that are drawn, in their order."""
        if self.most is None or len(rows) <= self.most:
            return rows
        order = sorted(rows.tolist(), key=self._number)
        return np.array(sorted(order[: self.most]))

    def _number(self, row: int) -> bytes:
        return hashlib.sha256(f"{self.seed}:{self.keys[row]}".encode()).digest()

    def protocol(self, name: str, count: int) -> dict[str, Any]:
        """What the protocol must say of a set of `count` pictures, under this name, for JSON:
        nothing if all of them take part."""
        if self.most is None or count <= self.most:
            return {}
        return {name: {"most": self.most, "drawn": "by key", "seed": self.seed}}
