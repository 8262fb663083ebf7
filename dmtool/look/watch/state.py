"""What the files of a run's stage say at one moment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from dmtool import runs
from dmtool.config.cadence import Limit
from dmtool.errors import UserError
from dmtool.files import reading
from dmtool.runs import metrics, saved

QUIET, TIMES = 60.0, 3
"""A run is silent when it has written nothing for so many seconds, and for so many times the
longest pause between its latest lines."""
LATEST = 50
LARGEST = 2**25
"""Pixels of a preview."""


@dataclass(frozen=True)
class StageStatus:
    """`complete`: its limit is reached; `age`: seconds since it wrote its last line."""

    folder: Path
    lines: list[metrics.Line]
    config: dict[str, Any]
    complete: bool
    age: float

    def fraction(self, pictures: int, seconds: float) -> float:
        """Progress in [0, 1] at that moment, by the limits of its config."""
        return min(1.0, self.part("limit", Limit).fraction(pictures, seconds))

    def part(self, name: str, schema: Any) -> Any:
        """A section of the config; UserError if it is none."""
        place = f"{self.folder / 'config.yaml'}: {name}"
        return reading.checked(self.config.get(name), schema, place)

    @property
    def silent(self) -> bool:
        """Whether it should have written, and has not."""
        seconds = [line["seconds"] for line in self.lines[-LATEST:]]
        pauses = [b - a for a, b in pairwise(seconds)]
        return not self.complete and self.age > max(QUIET, TIMES * max(pauses, default=QUIET))

    @property
    def alert(self) -> str | None:
        """What it has alerted to, if nothing came after."""
        return self.lines[-1].get("alert")

    def preview(self) -> tuple[Path, Image.Image] | None:
        """The latest preview that is whole, and no larger than any that is made."""
        for path in sorted(self.folder.glob("previews/*.png"), reverse=True)[:2]:
            try:
                with reading.opened(path) as file, Image.open(file) as image:
                    if image.width * image.height <= LARGEST:
                        return path, image.convert("RGB")
            except Exception:  # it is being written, or damaged: decoders raise anything
                continue
        return None


def stages(run: str, root: str) -> list[str]:
    """The stages of a run that were begun, the one that wrote last first; UserError if none."""
    folder = runs.existing(run, root)
    found = [path.parent for path in folder.glob(f"*/{saved.NAME}")]
    if not found:
        raise UserError(f"{folder} has no stage yet; begin with: dmtool train-vae run={run}")
    return [path.name for path in sorted(found, key=_written, reverse=True)]


def look(run: str, stage: str | None, root: str) -> StageStatus:
    """A stage of a run, by default the one that wrote last; UserError says what is missing."""
    begun = stages(run, root)
    if stage is not None and stage not in begun:
        raise UserError(f"the run {run!r} has no stage {stage!r}; there are: {', '.join(begun)}")
    folder = runs.run_dir(run, root) / (stage or begun[0])
    lines = metrics.read(folder / metrics.NAME)
    if not lines:
        raise NothingYet(f"{folder} has logged nothing yet: it is preparing, or was stopped before")
    age = time.time() - _written(folder)
    return StageStatus(folder, lines, saved.read(folder), _complete(folder, lines), age)


class NothingYet(UserError):
    """There is such a stage, and its first line will come."""


def _written(folder: Path) -> float:
    """When the stage logged its last line, or was begun."""
    path = folder / metrics.NAME
    return (path if path.exists() else folder / saved.NAME).stat().st_mtime


def _complete(folder: Path, lines: list[metrics.Line]) -> bool:
    """By the card of what was exported last, unless the run has gone on since."""
    path = folder / "artifacts" / "default"
    card = runs.load(path).card if (path / "card.json").exists() else {"complete": False}
    return bool(card["complete"]) and card["pictures_seen"] >= lines[-1]["pictures"]
