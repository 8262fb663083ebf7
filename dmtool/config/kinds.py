"""Kinds: those that dmtool has, and those that installed packages add to them.

A package adds kinds by entry points that name group and kind, and has in its folder `conf` the YAML
that they are chosen by, as dmtool has its own:

    [project.entry-points."dmtool.kinds"]
    "sampler.midpoint" = "dmtool_example:MIDPOINT"

In configs, runs and cards such a kind is named with its package, `dmtool-example:midpoint`. That is
looked up among what is installed: a run that somebody sends can name a kind, and bring no code. A
package is imported when a kind of it is asked for, and not before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import AfterValidator, GetCoreSchemaHandler, SerializationInfo
from pydantic_core import core_schema

from dmtool.config.validation import adapter, short
from dmtool.errors import UserError

GROUPS = ("data", "sampler", "extractor", "metric")
"""Those that packages may add to."""

B = TypeVar("B", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """What a package adds to a group: the schema of its settings, and what builds it of them."""

    schema: type
    build: Callable[..., Any]


class Builders(dict[type, B]):
    """The functions that build a group's kinds, by their schemas; a package's brings its own."""

    def __init__(self, group: str, own: Mapping[type, B]) -> None:
        super().__init__(own)
        self.group = group

    def of(self, config: Any) -> B | Callable[..., Any]:
        """That of a config."""
        own = self.get(type(config))
        return load(self.group, config.kind, Plugin).build if own is None else own


class Kinds:
    """Of a part of the config: it is one of dmtool's schemas, or one of a package's, by `kind`.

    All are of the type that this annotates.
    """

    def __init__(self, group: str, *own: type) -> None:
        self.group, self.own = group, own

    def __get_pydantic_core_schema__(
        self, base: type, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        choices = {name: handler.generate_schema(each) for each in self.own for name in named(each)}

        def one(value: Any, own: core_schema.ValidatorFunctionWrapHandler) -> Any:
            kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
            if not isinstance(kind, str) or ":" not in kind:
                return own(value)
            schema = load(self.group, kind, Plugin).schema
            if not issubclass(schema, base):
                raise UserError(f"the kind {kind} of {self.group} has a schema that is no {base}")
            return adapter(schema).validate_python(value)

        return core_schema.no_info_wrap_validator_function(
            one,
            core_schema.tagged_union_schema(choices, discriminator="kind"),
            serialization=core_schema.plain_serializer_function_ser_schema(_values, info_arg=True),
        )


def _values(config: Any, info: SerializationInfo) -> Any:
    """A config of any kind as its own schema writes it."""
    mode: Literal["json", "python"] = "json" if info.mode_is_json() else "python"
    return adapter(type(config)).dump_python(config, mode=mode, by_alias=info.by_alias)


def named(schema: type) -> tuple[str, ...]:
    """The kinds that a schema is of."""
    return get_args(get_type_hints(schema)["kind"])


def one_of(group: str, own: Sequence[str]) -> AfterValidator:
    """Of a word in the config: it names one of dmtool's kinds, which have no settings, or one of a
    package's."""

    def check(name: str) -> str:
        if ":" in name:
            entry(group, name)
        elif name not in own:
            raise ValueError(f"{short(name)} is none of {', '.join(map(repr, own))}")
        return name

    return AfterValidator(check)


# --- what is installed ----------------------------------------------------------------------------


@cache
def installed() -> dict[str, dict[str, EntryPoint]]:
    """The entry points of all packages' kinds, by group and by their names in configs."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group="dmtool.kinds"):
        group, _, name = point.name.rpartition(".")
        found.setdefault(group, {})[f"{package(point)}:{name}"] = point
    return found


def package(point: EntryPoint) -> str:
    """The name of the package that an entry point is of, as pip writes it."""
    assert point.dist is not None
    return re.sub("[-_.]+", "-", point.dist.name).lower()


def option(kind: str) -> str:
    """The word that a kind is chosen by, `midpoint` of `dmtool-example:midpoint`: the name of its
    file in `conf`."""
    return kind.rpartition(":")[2]


def entry(group: str, kind: str) -> EntryPoint:
    """The entry point of a package's kind; UserError if it is not installed."""
    known = installed().get(group, {})
    if kind in known:
        return known[kind]
    owner, _, name = kind.partition(":")
    there = {package(point) for points in installed().values() for point in points.values()}
    if owner not in there:
        raise UserError(
            f"the kind {short(name)} is of the package {short(owner)}, which is not installed: "
            "install it, or take another kind"
        )
    others = [option(each) for each in known if each.startswith(f"{owner}:")]
    raise UserError(
        f"the package {owner} that is installed has no kind {short(name)} of {group} "
        f"(it has: {', '.join(others) or 'none'})"
    )


def load(group: str, kind: str, sort: type[T]) -> T:
    """What a package's kind is, of that sort; UserError if it is not installed, or is broken."""
    point = entry(group, kind)
    try:
        found = point.load()
    except Exception as error:  # whatever another's module raises
        raise UserError(
            f"the package {package(point)} cannot be imported for its {group} {option(kind)!r}: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, sort):
        raise UserError(
            f"the package {package(point)} is broken: {point.value}, its {group} {option(kind)!r}, "
            f"is no {sort.__name__}"
        )
    return found


@cache
def conf_dirs() -> dict[Path, str]:
    """The folders `conf` of packages that add kinds, each with its package; none is imported."""
    found = {}
    for point in (each for points in installed().values() for each in points.values()):
        spec = find_spec(point.module.partition(".")[0])
        for place in (spec and spec.submodule_search_locations) or ():
            if (Path(place) / "conf").is_dir():
                found[Path(place) / "conf"] = package(point)
    return found
