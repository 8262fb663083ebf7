"""What a run's directory holds that its report shows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtool import runs
from dmtool.config.stages import STAGES
from dmtool.errors import UserError
from dmtool.files import reading
from dmtool.look.info import fits
from dmtool.look.watch.state import stages
from dmtool.runs import Artifact, metrics
from dmtool.runs.results import read as read_result

PICTURES = {".png", ".gif", ".webp", ".svg"}


@dataclass(frozen=True)
class TrainedStage:
    """A stage of a run; `config` is its YAML."""

    name: str
    config: str
    lines: list[metrics.Line]
    artifacts: dict[str, Artifact]
    preview: Path | None


@dataclass(frozen=True)
class Run:
    """A run: its stages in the order of the chain, its evaluations by file name, its pictures."""

    name: str
    folder: Path
    stages: list[TrainedStage]
    results: dict[str, dict[str, Any]]
    pictures: list[Path]

    @property
    def fits(self) -> list[str]:
        """What fits what among the stages' default artifacts."""
        found = {s.name: s.artifacts["default"] for s in self.stages if "default" in s.artifacts}
        return fits(found)

    @property
    def attributions(self) -> list[str]:
        """Whom the pictures of its training are by."""
        artifacts = (each for stage in self.stages for each in stage.artifacts.values())
        return sorted({each.card["data"]["attribution"] for each in artifacts} - {""})


def look(run: str, root: str) -> Run:
    """A run as it stands; UserError if there is none."""
    begun = stages(run, root)
    folder = runs.run_dir(run, root)
    order = [*(name for name in STAGES if name in begun), *sorted(set(begun) - set(STAGES))]
    results = {path.stem: read_result(path) for path in _own(folder, folder.glob("eval/*.json"))}
    whole = {name: result for name, result in results.items() if "figures" in result}
    return Run(
        folder.resolve().name, folder, [_stage(folder / n) for n in order], whole,
        [*_pictures(folder)],
    )  # fmt: skip


def _stage(folder: Path) -> TrainedStage:
    artifacts = sorted(folder.glob("artifacts/[!.]*"))
    previews = _own(folder, folder.glob("previews/*.png"))
    (config,) = _own(folder, [folder / "config.yaml"])
    return TrainedStage(
        folder.name,
        reading.read_text(config, reading.CONFIG),
        metrics.read(folder / metrics.NAME),
        {path.name: runs.load(path) for path in artifacts},
        previews[-1] if previews else None,
    )


def _pictures(folder: Path) -> Iterator[Path]:
    """Sheets of samples, what evaluations have drawn, films; single samples are left out."""
    for pattern in ("*-sheet.png", "eval/**/*", "*-film/*"):
        found = [path for path in folder.glob(pattern) if path.suffix in PICTURES]
        yield from (path for path in _own(folder, found) if path.is_file())


def _own(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """The files in order; UserError for a link that leads out of `folder`.

    What it shows would go out with the page, and a run may be somebody else's.
    """
    found, inside = sorted(paths), os.path.realpath(folder)
    for path in found:
        if not Path(os.path.realpath(path)).is_relative_to(inside):  # resolve() raises in a loop
            raise UserError(f"{path} is a link out of {folder}, and is not shown: remove it")
    return found
