"""What `conf/` has for a part of a kind, whatever else is said; kinds may be anybody's words."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from dmtool.config import kinds
from dmtool.config.compose import composed
from dmtool.config.validation import conf_dir, container
from dmtool.errors import UserError


def sampler(kind: str, grid: str, threshold: str = "auto") -> dict[str, Any]:
    """The values of a sampler, its grid and threshold; UserError if `conf/` has no such files."""
    named = {"sampler": kind, "sampler/grid": grid, "sampler/threshold": threshold}
    return _values("sample", "sampler", tuple(_word(*each) for each in named.items()))


def guidance(name: str = "cfg") -> dict[str, Any]:
    """The values of a guidance; UserError if `conf/` has no such file."""
    return chosen("sample", "guidance", name)


def chosen(config: str, group: str, name: str) -> dict[str, Any]:
    """The values of a group of `conf/CONFIG.yaml`; UserError if there is no such file in it."""
    return _values(config, group, (_word(group, name),))


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `under`; where both have a mapping, so within it."""
    found = dict(under)
    for key, value in over.items():
        beneath = found.get(key)
        if isinstance(beneath, Mapping) and isinstance(value, Mapping):
            value = merged(beneath, value)
        found[key] = value
    return found


def _values(config: str, group: str, words: tuple[str, ...]) -> dict[str, Any]:
    return deepcopy(_composed(config, words)[group])


@cache
def _composed(config: str, words: tuple[str, ...]) -> dict[str, Any]:
    return container(composed(config, words))


def _word(group: str, kind: str) -> str:
    """The word for a kind's file, of those that are there; UserError of a package's kind that is
    not installed."""
    if ":" in kind:
        kinds.entry(group, kind)
    folders = [conf_dir(), *kinds.conf_dirs()]
    names = sorted(path.stem for each in folders for path in (each / group).glob("[!_]*.yaml"))
    if kinds.option(kind) not in names:
        raise UserError(f"{group}={kind} is none of {', '.join(names)}")
    return f"{group}={kinds.option(kind)}"
