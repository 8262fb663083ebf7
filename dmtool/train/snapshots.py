"""Averages as they were at some moments of a run: what any other length is reconstructed from.

RUN/STAGE/snapshots/PICTURES/  0.05.safetensors  0.1.safetensors ...  sha256.json
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dmtool.errors import UserError
from dmtool.files import directories, reading
from dmtool.files.digests import file_digest
from dmtool.files.tensors import half, read_tensors, write_tensors

SUMS = "sha256.json"
NUMBER, WIDTH = re.compile(r"\d{12,}", re.ASCII), re.compile(r"\d+(\.\d+)?(e-\d+)?", re.ASCII)
KEPT = 16
"""Moments kept at most, beside the newest: they then lie within a sixteenth to an eighth of the
training of each other, and widths from 0.04 to 0.17 can be reconstructed (see `posthoc`)."""


@dataclass(frozen=True)
class Snapshot:
    """The average of width `sigma_rel` after so many pictures."""

    pictures: int
    sigma_rel: float
    file: Path

    def tensors(self) -> dict[str, Tensor]:
        """The averaged weights as they are stored; UserError if the file is damaged or missing."""
        recorded = reading.read_json(self.file.parent / SUMS, dict[str, str])
        if not self.file.is_file() or file_digest(self.file) != recorded.get(self.file.name):
            raise UserError(f"{self.file} is damaged or missing: delete {self.file.parent}")
        return read_tensors(self.file)


def save(
    folder: Path, pictures: int, averages: Mapping[float, dict[str, Tensor]], every: int
) -> None:
    """Write the averages (by sigma_rel) of this moment atomically; thin out the earlier moments."""

    def fill(path: Path) -> None:
        for sigma_rel, weights in averages.items():
            stored = {name: half(tensor) for name, tensor in weights.items()}
            write_tensors(path / f"{sigma_rel}.safetensors", stored)
        sums = {file.name: file_digest(file) for file in path.iterdir()}
        (path / SUMS).write_text(json.dumps(sums))

    directories.replace(folder / f"{pictures:012d}", fill)
    moments = _moments(folder)
    for moment in set(moments) - thinned(sorted(moments), every):
        directories.remove(moments[moment])


def thinned(moments: list[int], every: int) -> set[int]:
    """Which of some ascending moments to keep: the newest, and the first in each interval.

    Intervals are `every` pictures long, doubled until there are no more than KEPT. Which are kept
    follows from the pictures seen alone, as all else in a resumed run.
    """
    while moments[-1] // every > KEPT:
        every *= 2
    first: dict[int, int] = {}
    for moment in moments:
        first.setdefault(moment // every, moment)
    first.pop(0, None)
    return {*first.values(), moments[-1]}


def forget_after(folder: Path, pictures: int) -> None:
    """Delete the moments that a run going on from `pictures` will reach again."""
    for moment, path in _moments(folder).items():
        if moment > pictures:
            directories.remove(path)


def find(folder: Path) -> list[Snapshot]:
    """All snapshots of a run's stage, the oldest first."""
    return [
        Snapshot(moment, float(file.stem), file)
        for moment, path in sorted(_moments(folder).items())
        for file in sorted(path.glob("*.safetensors"))
        if WIDTH.fullmatch(file.stem)
    ]


def _moments(folder: Path) -> dict[int, Path]:
    return {int(path.name): path for path in folder.glob("*") if NUMBER.fullmatch(path.name)}
