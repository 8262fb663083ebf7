"""`dmtool plan STAGE`: what a training will take, before it is begun."""

from __future__ import annotations

from pathlib import Path

from dmtool.config.training import Train
from dmtool.files.atomic import write_json
from dmtool.look.plan import outline, report
from dmtool.look.plan.devices import Devices
from dmtool.look.plan.measure import measure


def plan(config: Train, others: list[Devices], out: Path | None) -> str:
    """Try a stage's training on this machine, or with device=meta count what it will take.

    Returns the plan as text and writes it as JSON to `out`.
    """
    if config.device == "meta":
        facts = report.counted(config, outline.of_config(config), others)
    else:
        facts = report.tried(config, measure(config), others)
    if out is not None:
        write_json(out, facts)
    return report.text(facts)
