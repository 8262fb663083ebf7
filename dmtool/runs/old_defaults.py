"""A `defaults.json` of format 1, whose settings were words for Hydra: read as values.

No word is ever given to Hydra's composition. Each sets one key of a sampler or a guidance, in
characters that make a plain value; anything else is refused.
"""

from __future__ import annotations

import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from dmtool.config import usual
from dmtool.errors import UserError

WORD = re.compile(r"(sampler/grid|(?:sampler|guidance)(?:\.[a-z_]+)*)=([\w\s.,:{}\[\]'\"+-]+)")
MOST, LONGEST = 64, 4096
"""Words in a file, and characters of one."""


def settings(words: object) -> dict[str, Any]:
    """The groups that the words made, each complete; UserError for a word that is no setting."""
    if not isinstance(words, list) or len(words) > MOST:
        raise UserError("its words are no list of settings")
    pairs = dict(_pair(word) for word in words)
    groups: dict[str, Any] = {}
    if any(key.startswith("sampler") for key in pairs):
        kind, grid = pairs.pop("sampler", "heun"), pairs.pop("sampler/grid", "uniform")
        groups["sampler"] = usual.sampler(kind, grid)
    if any(key.startswith("guidance") for key in pairs):
        groups["guidance"] = usual.guidance(pairs.pop("guidance", "cfg"))
    for key, value in pairs.items():
        _set(groups, key, value)
    return groups


def _pair(word: object) -> tuple[str, Any]:
    """The key and the value of a word."""
    match = WORD.fullmatch(word) if isinstance(word, str) and len(word) <= LONGEST else None
    if match is None:
        raise UserError(f"{str(word)[:80]!r} is no setting of a sampler or a guidance")
    try:
        override = OverridesParser.create().parse_override(f"x={match[2]}")
    except HydraException as error:
        raise UserError(f"{match[0]!r} has no value that can be read") from error
    if override.is_sweep_override():
        raise UserError(f"{match[0]!r} has several values")
    return match[1], _plain(override.value())


def _plain(value: Any) -> Any:
    """A parsed value without the parser's own kind of string."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _set(groups: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key that is there; within it too if the value is a mapping."""
    *path, last = key.split(".")
    place: Any = groups
    for part in path:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        raise UserError(f"{key!r} is no setting of a sampler or a guidance")
    both = isinstance(place[last], dict) and isinstance(value, dict)
    place[last] = usual.merged(place[last], value) if both else value
