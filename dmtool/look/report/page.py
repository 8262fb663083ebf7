"""`dmtool report`: one HTML page of runs, which holds all that it shows."""

from __future__ import annotations

import base64
import mimetypes
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from dmtool.config.validation import leaves
from dmtool.files import reading
from dmtool.files.atomic import write_text
from dmtool.look.report import contents, curves
from dmtool.look.report.contents import Run, TrainedStage
from dmtool.look.report.curves import Drawn
from dmtool.measure import compare
from dmtool.measure.compare import Difference, Table
from dmtool.measure.record import own_version
from dmtool.runs import Artifact

SHOWN = 40
"""Pictures of a run on its page, at most."""
MOST_PICTURE = 2**28
"""Bytes."""


def report(names: Sequence[str], root: str, out: Path | None, force: bool) -> Path:
    """Write the page of one run, or of several side by side; returns its path.

    The default place is `report.html` in the first run's directory. Raises UserError if a run is
    not there, or if figures of different protocol would stand side by side, unless `force`.
    """
    found = [contents.look(name, root) for name in names]
    path = out or found[0].folder / "report.html"
    write_text(path, render(found, force))
    return path


def render(found: Sequence[Run], force: bool) -> str:
    """The page of these runs."""
    template = files("dmtool.look.report").joinpath("page.html.j2").read_text()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(
        title=" and ".join(run.name for run in found),
        version=own_version(),
        made=time.strftime("%Y-%m-%d %H:%M %Z"),
        comparison=_comparison(found, force) if len(found) > 1 else None,
        runs=[_run(run) for run in found],
    )


# --- one run --------------------------------------------------------------------------------------


def _run(run: Run) -> dict[str, Any]:
    shown = run.pictures[:SHOWN]
    return {
        "name": run.name,
        "folder": run.folder,
        "results": [_result(name, result) for name, result in run.results.items()],
        "pictures": [_picture(path, run.folder) for path in shown],
        "left_out": len(run.pictures) - len(shown),
        "stages": [_stage(stage, run) for stage in run.stages],
        "provenance": _provenance(run.stages),
        "fits": run.fits,
        "attributions": run.attributions,
    }


def _result(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    aside = ("figures", "warnings", "examples", "terms")
    rest = {key: value for key, value in result.items() if key not in aside}
    rows = [[key, compare.cell(value)] for key, value in leaves(rest)]
    title = f"{name}: {result['metric']}" if "metric" in result else name
    return {
        "title": title,
        "table": compare.table(result),
        "protocol": Table([], rows),
        "warnings": result.get("warnings", []),
    }


def _stage(stage: TrainedStage, run: Run) -> dict[str, Any]:
    return {
        "name": stage.name,
        "config": stage.config,
        "curves": curves.of_stages(stage.name, {run.name: stage.lines}),
        "preview": _picture(stage.preview, run.folder) if stage.preview else None,
    }


def _provenance(stages: Sequence[TrainedStage]) -> Table:
    """All artifacts with their parents, data and text encoder, by sha256."""
    head = ["artifact", "sha256", "pictures seen", "parents", "text encoder", "data"]
    rows = [
        [f"{stage.name}/{name}", *_origin(artifact)]
        for stage in stages
        for name, artifact in stage.artifacts.items()
    ]
    return Table(head, rows)


def _origin(artifact: Artifact) -> list[str]:
    card = artifact.card
    text = card.get("text") or {}
    return [
        card["sha256"],
        f"{card['pictures_seen']:,}",
        ", ".join(f"{name} {parent['sha256']}" for name, parent in card["parents"].items()) or "–",
        " ".join(str(text[key]) for key in ("name", "sha256") if text.get(key)) or "–",
        str(card["data"]["fingerprint"]),
    ]


def _picture(path: Path, folder: Path) -> dict[str, str]:
    kind = mimetypes.guess_type(path.name)[0] or "image/webp"
    data = base64.b64encode(reading.read_bytes(path, MOST_PICTURE)).decode()
    return {"title": str(path.relative_to(folder)), "source": f"data:{kind};base64,{data}"}


# --- several runs ---------------------------------------------------------------------------------


def _comparison(found: Sequence[Run], force: bool) -> dict[str, Any]:
    """The figures that more than one run has, and the curves of the stages that more have."""
    names = {name: None for run in found for name in run.results}
    stages = {stage.name: None for run in found for stage in run.stages}
    return {
        "figures": [each for name in names for each in _compared(name, found, force)],
        "curves": [drawn for stage in stages for drawn in _overlaid(stage, found)],
    }


def _compared(name: str, found: Sequence[Run], force: bool) -> list[dict[str, Any]]:
    results = {run.name: run.results[name] for run in found if name in run.results}
    if len(results) < 2:
        return []
    compare.check(name, list(results.values()), force)
    common = [
        group
        for group in compare.groups(next(iter(results.values())))
        if all(group in compare.groups(each) for each in results.values())
    ]
    return [
        {
            "name": name,
            "group": group,
            "table": compare.together(results, group),
            "protocol": _differences(results, compare.protocol(list(results.values()))),
            "made": _differences(results, compare.made(list(results.values()))),
        }
        for group in common
    ]


def _differences(results: Mapping[str, Any], found: Sequence[Difference]) -> Table:
    return Table(["", *results], [[each.key, *each.values] for each in found])


def _overlaid(stage: str, found: Sequence[Run]) -> list[Drawn]:
    lines = {run.name: each.lines for run in found for each in run.stages if each.name == stage}
    lines = {name: each for name, each in lines.items() if each}
    drawn = curves.of_stages(stage, lines) if len(lines) > 1 else None
    return [drawn] if drawn else []
