"""The one way in for files that dmtool reads back: runs', artifacts', the cache's, statistics.

Such a file may have been cut by a full disk, edited by hand, or made to do harm. Whatever it is, a
reader returns what the file is to hold, or raises `Unreadable`, a line that names the file and the
place in it. Only regular files are opened (opening a pipe waits for ever), no more is read than a
file of its kind ever has, no nesting is deeper than `DEPTH`, and no text has references or tags
that make more of it than there stands.

What is done then depends on the kind of file: it is made anew, gone back from, left out with a
warning, or refused; see docs/files.md.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dmtool.config.validation import adapter, explained
from dmtool.errors import DISK_FULL, UserError

DEPTH = 32
"""Levels of nesting: configs and results of evaluations have less than ten."""
DEEP = f"it is nested more than {DEPTH} levels deep"
SMALL = 4 * 2**20
"""Bytes of a card, a record, the state of a training, a result."""
CONFIG = 2**18
"""Bytes of a config: YAML is slow to read."""


class Unreadable(UserError):
    """A file is not what it is to be."""


class Missing(Unreadable):
    """There is no such file."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as OmegaConf writes it: 1e-3 is a number, a date is text, and each key stands once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        pairs = [(self.construct_object(key, deep=True), None) for key, _ in node.value]
        if not all(isinstance(key, str) for key, _ in pairs):
            raise ValueError("a key is no text")
        _each_once(pairs)
        return super().construct_mapping(node, deep)


FLOAT = r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][-+]?\d+"
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
    for first, known in Loader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"{FLOAT}$"), [*"-+.0123456789"])


def opened(path: Path) -> BufferedReader:
    """A regular file, open to be read; Unreadable if it is something else or may not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Missing(f"{path} is missing") from error
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        if getattr(error, "errno", None) in DISK_FULL:
            raise
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(f"{path} cannot be read: {reason}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unreadable(f"{path} cannot be read: it is no file")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, limit: int = SMALL) -> bytes:
    """The content of a file of at most `limit` bytes."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise Unreadable(f"{path} has {size:,} bytes, and such a file at most {limit:,}")
        try:
            return file.read(size)
        except OSError as error:
            raise Unreadable(f"{path} cannot be read: {error.strerror}") from error


def read_text(path: Path, limit: int = SMALL) -> str:
    """The same as text in UTF-8."""
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path} is damaged: it is not UTF-8 ({error.reason})") from error


def read_json(path: Path, schema: Any = Any, limit: int = SMALL) -> Any:
    """What a JSON file holds, as `schema` has it; see `checked`."""
    return checked(parsed(read_text(path, limit), path), schema, path)


def parsed(text: str, place: object) -> Any:
    """The value of JSON that stands at `place`: each key once, and nothing nested too deep."""
    try:
        value = json.loads(text, object_pairs_hook=_each_once)
        _check(value)
    except RecursionError:
        raise Unreadable(
            f"{place} is damaged: it is nested more than {DEPTH} levels deep"
        ) from None
    except ValueError as error:
        raise Unreadable(f"{place} is damaged: {error}") from error
    return value


def checked(value: Any, schema: Any, place: object) -> Any:
    """A value of JSON as `schema`, whose types are taken at their word: "3" and 3.0 are no int."""
    try:
        return adapter(schema).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise Unreadable(f"{place} is damaged: {explained(error, value)}") from error


def read_yaml(path: Path, limit: int = CONFIG) -> dict[str, Any]:
    """The mapping that a config file holds; what looks like an interpolation is text."""
    text = read_text(path, limit)
    try:
        _check_plain(yaml.parse(text, Loader))
        values = yaml.load(text, Loader)
        if not isinstance(values, dict):
            raise ValueError("it is no mapping")
        _check(values)
    except (yaml.YAMLError, ValueError) as error:
        line = " ".join(str(error).split())
        raise Unreadable(f"{path} is damaged: {line}") from error
    return values


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def _check(value: Any) -> None:
    """ValueError for what is nested too deep, keys that are no text, and text that is not Unicode;
    without recursion."""
    rest = [(value, 1)]
    while rest:
        each, depth = rest.pop()
        if depth > DEPTH:
            raise ValueError(DEEP)
        if isinstance(each, dict):
            rest += [(part, depth + 1) for pair in each.items() for part in pair]
            if not all(isinstance(key, str) for key in each):
                raise ValueError("a key is no text")
        elif isinstance(each, list):
            rest += [(part, depth + 1) for part in each]
        elif isinstance(each, str):
            each.encode()  # half of a pair of surrogates is no text
        elif not isinstance(each, bool | int | float | None):
            raise ValueError(f"it holds a {type(each).__name__}")


def _check_plain(events: Iterable[Any]) -> None:
    """ValueError for YAML that says more than there stands."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError(DEEP)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"it has a reference (*{event.anchor}), which no config has")
