"""Sets of pictures that are measured, whatever they stand in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Undecodable(Exception):
    """A picture cannot be decoded; what it holds names all of the set that cannot."""

    def __init__(self, explain: Callable[[], str]) -> None:
        super().__init__("a picture cannot be decoded")
        self.explain = explain


class PictureSet(Protocol):
    """Pictures by number, uint8 RGB [3, H, W], and what is to be said of them.

    `digest` is that of all their bytes in order, `keys` tell single ones apart; `colours` says what
    was done to them by profiles, if anything; `facts` is for JSON, `notes` are sentences.
    Undecodable is raised for a picture whose file is damaged.
    """

    @property
    def digest(self) -> str: ...
    @property
    def keys(self) -> list[str] | None: ...
    @property
    def colours(self) -> dict[str, str]: ...
    @property
    def facts(self) -> dict[str, Any]: ...
    @property
    def notes(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Images:
    """The images [N, H, W, 3] in uint8 of an array, of a file with that sha256."""

    path: Path
    images: NDArray[np.uint8]
    sha256: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        return torch.from_numpy(self.images[row]).permute(2, 0, 1).contiguous()

    @property
    def digest(self) -> str:
        return self.sha256

    @property
    def keys(self) -> None:
        return None

    @property
    def colours(self) -> dict[str, str]:
        return {}

    @property
    def facts(self) -> dict[str, Any]:
        height, width = self.images.shape[1:3]
        return {
            "place": str(self.path),
            "files": self.sha256,
            "formats": {"npz": len(self)},
            "sizes": f"{width}x{height}",
        }

    @property
    def notes(self) -> list[str]:
        distinct = len({each.tobytes() for each in self.images})
        return [f"{self.path}: {copies(len(self), distinct)}"] if distinct < len(self) else []


def copies(count: int, distinct: int) -> str:
    """What is to be said of a set in which pictures stand twice."""
    return (
        f"copies of another picture, byte for byte: {count - distinct:,} of {count:,}; they make "
        "the set look less varied"
    )
