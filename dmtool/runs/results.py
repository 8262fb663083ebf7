"""Results of evaluations in files: what was measured of a run, kept as JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmtool.files import reading
from dmtool.files.reading import Unreadable

MOST = 2**27
"""Bytes: some list every picture."""

log = logging.getLogger(__name__)


def read(path: Path) -> dict[str, Any]:
    """What a file of `eval/` holds; Unreadable says so, and what to do."""
    try:
        found: dict[str, Any] = reading.read_json(path, dict[str, Any], MOST)
        _check(found, path)
    except Unreadable as error:
        raise Unreadable(f"{error}; measure again, or delete the file") from error
    return found


def known(path: Path) -> dict[str, Any] | None:
    """The same of what is measured again where it is missing, or with a warning where damaged."""
    try:
        return read(path) if path.exists() else None
    except Unreadable as error:
        log.warning("%s", error)
        return None


def _check(found: dict[str, Any], path: Path) -> None:
    """Sections that a reader goes into are mappings, and figures are numbers, or groups of them."""
    for name in ("figures", "settings", "protocol"):
        if not isinstance(found.get(name, {}), Mapping):
            raise Unreadable(f"{path} is damaged: {name} is no mapping")
    if not isinstance(found.get("warnings", []), list):
        raise Unreadable(f"{path} is damaged: warnings are no list")
