"""`dmtool info --kinds`: what can be chosen, by group, and which package it is of."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from dmtool.config import kinds
from dmtool.config.using import METRICS
from dmtool.config.validation import conf_dir
from dmtool.errors import UserError
from dmtool.say import columns

NO_KINDS = ("experiment",)


Found = dict[tuple[str, str], list[str]]
"""The names of each (group, package)."""


def listing() -> str:
    """A row of each group and package with the names that it has, and a line for each that is
    broken or hidden by another of its name."""
    found = _found()
    rows = [[group, _numbered(package), ", ".join(found[group, package])]
            for group, package in sorted(found)]  # fmt: skip
    table = columns([["group", "package", "kinds"], *rows])
    return "\n".join([*table, *_broken(), *_hidden(found)])


def _found() -> Found:
    """dmtool's first, then those of packages in the order in which Hydra looks for them."""
    own = _options(conf_dir()) | {"metric": [*METRICS]}
    found = {(group, "dmtool"): names for group, names in own.items() if group not in NO_KINDS}
    for folder, package in kinds.conf_dirs().items():
        found |= {(group, package): names for group, names in _options(folder).items()}
    for group, points in kinds.installed().items():
        for kind, point in points.items():
            names = found.setdefault((group, kinds.package(point)), [])
            names += [kind] if group == "metric" else {kinds.option(kind)} - {*names}
    return found


def _hidden(found: Found) -> Iterator[str]:
    """What several packages call alike: Hydra takes the first."""
    owners: dict[tuple[str, str], list[str]] = {}
    for (group, package), names in found.items():
        for name in names:
            owners.setdefault((group, name), []).append(package)
    for (group, name), (first, *others) in owners.items():
        for other in others:
            yield f"{group}={name} is {first}'s, and that of {other} cannot be chosen"


def _options(folder: Path) -> dict[str, list[str]]:
    """The names of the files in each group of a folder of configs."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("[!_]*.yaml")):
        if path.parent != folder:
            found.setdefault(str(path.parent.relative_to(folder)), []).append(path.stem)
    return found


def _numbered(package: str) -> str:
    """With its version, of those that are not dmtool itself."""
    return package if package == "dmtool" else f"{package} {version(package)}"


def _broken() -> Iterator[str]:
    for group, points in kinds.installed().items():
        for kind in points:
            if group not in kinds.GROUPS:
                yield f"{kind}: packages add nothing to {group!r}, but to {', '.join(kinds.GROUPS)}"
            try:
                kinds.load(group, kind, object if group == "metric" else kinds.Plugin)
            except UserError as error:
                yield str(error)
