"""`dmtool check-run`: a run's health by general rules, and against a reference curve."""

from __future__ import annotations

from pathlib import Path

from dmtool.errors import CheckFailed, UserError
from dmtool.look.health import curve as curves
from dmtool.look.health.curve import LossPair, ReferenceCurve
from dmtool.look.health.rules import Finding, findings
from dmtool.look.watch.state import StageStatus, look, stages
from dmtool.say import say

SHOWN = 3  # differences from a curve's settings
MARKS = {True: "ok", False: "UNHEALTHY", None: "-"}


def check(run: str, stage: str | None, root: str, curve: Path | None) -> None:
    """Print what was found of a run's stage, or of all; CheckFailed if something is unhealthy."""
    if curve is not None and stage is None:
        stage = curves.read(curve).stage
    bad = []
    for each in [stage] if stage else sorted(stages(run, root)):
        status = look(run, each, root)
        found = findings(status) + _against(status, _chosen(each, curve))
        say(f"{run}/{each}: {status.lines[-1]['pictures']:,} pictures seen")
        say(*(f"  {MARKS[finding.healthy]:9}  {finding.text}" for finding in found))
        bad += [f"{each}: {finding.text}" for finding in found if finding.healthy is False]
    if bad:
        raise CheckFailed(f"{run} is not healthy: {'; '.join(bad)}")


def write(run: str, stage: str | None, root: str, path: Path) -> None:
    """Make a run's curve the reference in a file."""
    begun = stages(run, root)
    if stage is None and len(begun) > 1:
        raise UserError(f"name the stage that the curve is of: {', '.join(begun)}")
    status = look(run, stage, root)
    curves.from_run(path.stem, status.folder.name, status.config, status.lines).write(path)
    say(f"{path}: the loss of {status.folder}, and {curves.TOLERANCE:.0%} around it")


def _chosen(stage: str, path: Path | None) -> list[ReferenceCurve]:
    return [curves.read(path)] if path else curves.packed(stage)


def _against(status: StageStatus, known: list[ReferenceCurve]) -> list[Finding]:
    """The comparison with the curve of the run's settings, if there is one."""
    if not known:
        return [Finding(None, f"there is no curve of a {status.folder.name}: general rules only")]
    differences, curve = min(
        ((each.differences(status.config), each) for each in known), key=lambda pair: len(pair[0])
    )
    if differences:
        named = ", ".join(differences[:SHOWN]) + (", ..." if len(differences) > SHOWN else "")
        return [Finding(None, f"general rules only: it is no {curve.name}, {named}")]
    return _compared(status, curve)


def _compared(status: StageStatus, curve: ReferenceCurve) -> list[Finding]:
    pairs = curve.pairs(status.lines)
    judged = [pair for pair in pairs if pair.comparable]
    if not judged:
        why = "with its learning rate" if pairs else "at its numbers of pictures (every.log)"
        return [Finding(None, f"general rules only: no loss {why} to compare with {curve.name}")]
    high = [pair for pair in judged if not pair.loss <= pair.reference.high]
    low = [pair for pair in judged if pair.loss < pair.reference.low]
    found = [Finding(False, f"the loss is too high, {_place(curve, high)}")] if high else []
    found += [Finding(None, f"the loss is unusually low, {_place(curve, low)}")] if low else []
    last = judged[-1].reference.pictures
    text = f"the loss is that of {curve.name} up to {last:,} pictures ({len(judged)} compared)"
    return found or [Finding(True, text)]


def _place(curve: ReferenceCurve, pairs: list[LossPair]) -> str:
    loss, there, _ = pairs[0]
    more = f", and {len(pairs) - 1} times later" if len(pairs) > 1 else ""
    band = f"{curve.name} has {there.low:.4g} to {there.high:.4g}"
    return f"{loss:.4g} at {there.pictures:,} pictures where {band}{more}"
