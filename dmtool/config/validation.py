"""From Hydra's composed config to a checked dataclass, or one clear line about what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from dmtool.errors import UserError

T = TypeVar("T")

SHOWN = 8
"""Mistakes that a line names."""


def conf_dir() -> Path:
    """The directory of YAML files: inside the installed package, or beside it in a checkout."""
    packed = Path(__file__).parents[1] / "conf"
    return packed if packed.is_dir() else Path(__file__).parents[2] / "conf"


def validate(config: DictConfig, schema: type[T]) -> T:
    """Build `schema` from what Hydra composed; a UserError names each wrong key, and a near one."""
    return check(resolved(config), schema)


def resolved(config: DictConfig) -> dict[str, Any]:
    """The values of what Hydra composed, with interpolations filled in. Nothing that was read from
    a run's files comes here: it could ask for the environment. UserError for a missing value."""
    try:
        return container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(in_one_line(error)) from error


def check(values: Mapping[str, Any], schema: type[T]) -> T:
    """Build `schema` from plain values, where `${...}` is text; UserError as of `validate`."""
    try:
        return cast(T, adapter(schema).validate_python(values))
    except ValidationError as error:
        raise UserError(explained(error, dict(values))) from error


def adapter(schema: Any) -> TypeAdapter[Any]:
    """What checks and writes values of a schema; made once, which takes a tenth of a second."""
    return _adapter(schema)


@lru_cache  # typed apart: mypy holds schemas, of dataclasses, for unhashable
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def explained(error: ValidationError, values: Any) -> str:
    """What is wrong with `values`, key by key, in one line."""
    lines = list(dict.fromkeys(_explain(item, values) for item in error.errors()))
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "; ".join([*lines[:SHOWN], *more])


def container(config: DictConfig | Mapping[str, Any], *, resolve: bool = False) -> dict[str, Any]:
    """The config as plain dictionaries; `resolve` fills in interpolations and wants all values."""
    values = OmegaConf.to_container(
        OmegaConf.create(cast(Any, config)), resolve=resolve, throw_on_missing=resolve
    )
    assert isinstance(values, dict)
    return cast(dict[str, Any], values)


def nearest(name: str, values: Mapping[str, Any], beside: Iterable[str]) -> str:
    """' (did you mean X?)' for the valid key most like `name`, or nothing if none is like it."""
    siblings = difflib.get_close_matches(name.rpartition(".")[2], list(beside), 1)
    if siblings:
        prefix = name.rpartition(".")[0]
        return f" (did you mean {prefix + '.' if prefix else ''}{siblings[0]}?)"
    paths = {path: path.rpartition(".")[2] for path in flat(values) if path != name}
    last = difflib.get_close_matches(name.rpartition(".")[2], list(paths.values()), 1)
    found = [path for path, leaf in paths.items() if last and leaf == last[0]]
    return f" (did you mean {found[0]}?)" if found else ""


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """All dotted paths in nested mappings: 'a', 'a.b', ..."""
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of all that is no mapping itself."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _explain(item: Any, values: Any) -> str:
    path, siblings = _locate(item["loc"], values)
    if item["type"] == "unexpected_keyword_argument":
        hint = nearest(path, values, siblings - {path.rpartition(".")[2]})
        return f"unknown key {path!r}{hint}"
    if item["type"] == "union_tag_invalid":
        key = ".".join(filter(None, [path, item["ctx"]["discriminator"].strip("'")]))
        return f"{key}={cut(item['ctx']['tag'])} is none of {item['ctx']['expected_tags']}"
    if item["type"] == "missing":
        return f"the key {path!r} is missing"
    if item["type"] == "value_error":
        return f"{path + ': ' if path else ''}{item['ctx']['error']}"
    shown = f"{path}={short(item['input'])}" if path else short(item["input"])
    return f"{shown}: {item['msg'].replace('Input', 'it')}"


def short(value: Any, most: int = 100) -> str:
    """A value as Python writes it, cut to so many characters."""
    return cut(" ".join(repr(value).split()), most)


def cut(value: Any, most: int = 200) -> str:
    """A value's text, cut to so many characters."""
    text = str(value)
    return text if len(text) <= most else text[:most] + "..."


def _locate(location: tuple[int | str, ...], values: Any) -> tuple[str, set[str]]:
    """The dotted path of an error, without pydantic's union tags, and the keys beside it."""
    path: list[str] = []
    siblings: set[str] = set()
    for i, part in enumerate(location):
        inside = isinstance(values, dict) and part in values
        inside = inside or (
            isinstance(values, list) and isinstance(part, int) and part < len(values)
        )
        if not inside and i < len(location) - 1:
            continue
        if not inside and isinstance(values, dict) and values.get("kind") == part:
            continue
        path.append(str(part))
        siblings = set(values) if isinstance(values, dict) else set()
        values = values[part] if inside else None
    return ".".join(path), siblings


def in_one_line(error: OmegaConfBaseException) -> str:
    """What OmegaConf has to say, with the key in full."""
    if isinstance(error, MissingMandatoryValue):
        return f"a value is missing: type {error.full_key}=..."
    line = str(error).strip().splitlines()[0]
    return f"{error.full_key}: {line}" if error.full_key else line
