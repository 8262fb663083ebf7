"""`dmtool stats`: the statistics of a set of pictures, kept in a file."""

from __future__ import annotations

from pathlib import Path

from dmtool import processes
from dmtool.config.using import Stats
from dmtool.errors import UserError
from dmtool.measure import folders
from dmtool.measure.features import extractors, statistics
from dmtool.say import say


def run(config: Stats, place: Path, out: Path, rows: bool) -> None:
    """Write the statistics of the pictures at `place` to `out`, and print what they are.

    Raises UserError as `folders.load` does, and if rows are wanted of statistics without any.
    """
    with processes.of(config) as (group, device):
        extractor = extractors.load(config.extractor, device)
        found = folders.load(place, extractor, config.batch_size, group)
        moments = found.moments(group)
        if rows and found.chunks is None:
            raise UserError(f"{place} holds statistics alone: leave out --rows")
        if group.main:
            statistics.write(out, found, moments, extractor, rows)
            say(f"{extractor.name} statistics of {found.n} pictures: {out}")
            say(*(f"  warning: {each}" for each in found.notes))
