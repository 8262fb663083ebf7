"""Figures of evaluations as tables, and what forbids to compare two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dmtool.config.validation import leaves
from dmtool.errors import UserError

Result = Mapping[str, Any]
"""What an evaluation wrote: `figures` {group: {name: value}}, and all that they depend on."""

MADE = ("settings",)
"""How pictures were made: what one compares, so it may differ."""
NEUTRAL = ("figures", "versions", "warnings", "examples", "terms")
"""Neither the model's nor the protocol's."""
OF_THE_REFERENCE = "protocol.measures.floor"
"""How floors are measured: they are the reference's, so that it forbids no comparison of models."""


@dataclass(frozen=True)
class Table:
    """`head` has one cell more than the rows' figures: that of their names."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Difference:
    """A key in which results differ, with the value of each."""

    key: str
    values: list[str]


def table(result: Result) -> Table:
    """The figures of one result, a row for each group."""
    return _table({name: _named(group) for name, group in groups(result).items()})


def together(results: Mapping[str, Result], group: str) -> Table:
    """The figures of one group in several results, a row for each."""
    return _table({name: _named(groups(each)[group]) for name, each in results.items()})


def groups(result: Result) -> dict[str, Mapping[str, Any]]:
    """The figures by group; figures without groups are one, without a name."""
    figures = result["figures"]
    nested = {name: each for name, each in figures.items() if isinstance(each, Mapping)}
    return nested if len(nested) == len(figures) else {"": figures}


def made(results: Sequence[Result]) -> list[Difference]:
    """In what the making of the pictures differs."""
    return _differences([{key: r[key] for key in MADE if key in r} for r in results])


def protocol(results: Sequence[Result]) -> list[Difference]:
    """In what the measuring differs: such figures do not compare."""
    aside = MADE + NEUTRAL
    found = _differences([{k: v for k, v in r.items() if k not in aside} for r in results])
    return [each for each in found if not each.key.startswith(OF_THE_REFERENCE)]


def check(name: str, results: Sequence[Result], force: bool) -> None:
    """UserError if results of different protocol are to stand side by side, unless forced to."""
    found = protocol(results)
    if found and not force:
        shown = "; ".join(f"{each.key}: {' / '.join(each.values)}" for each in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(
            f"the figures of {name} were measured in different ways ({shown}{more}) and do not "
            "compare: measure them alike (or see them side by side by report --force)"
        )


def _named(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's figures by name. The one floor of older results was that of a disjoint sample."""
    floor = group.get("floor")
    if isinstance(floor, Mapping) and "fd" in floor:
        group = {**group, "floor": {"disjoint_sample": floor}}
    return dict(leaves(group))


def _differences(parts: Sequence[Mapping[str, Any]]) -> list[Difference]:
    each = [dict(leaves(part)) for part in parts]
    keys = {key: None for part in each for key in part}
    rows = [Difference(key, [cell(part.get(key)) for part in each]) for key in keys]
    return [row for row in rows if len(set(row.values)) > 1]


def _table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    names = list({name: None for row in rows.values() for name in row})
    cells = [[title, *(cell(row.get(name)) for name in names)] for title, row in rows.items()]
    return Table(["", *names], cells)


def cell(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return str(value)
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
