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


def listing() -> str:
    """A row of each group and package with the names that it has, and a line for each that is
    broken."""
    own = _options(conf_dir()) | {"metric": [*METRICS]}
    found = {(group, "dmtool"): names for group, names in own.items() if group not in NO_KINDS}
    for folder, package in kinds.conf_dirs().items():
        found |= {(group, package): names for group, names in _options(folder).items()}
    for group, points in kinds.installed().items():
        for kind, point in points.items():
            names = found.setdefault((group, kinds.package(point)), [])
            names += [kind] if group == "metric" else {kinds.option(kind)} - {*names}
    rows = [[group, _numbered(package), ", ".join(names)]
            for (group, package), names in sorted(found.items())]  # fmt: skip
    return "\n".join([*columns([["group", "package", "kinds"], *rows]), *_broken()])


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
                kinds.load(group, kind, object)
            except UserError as error:
                yield str(error)
