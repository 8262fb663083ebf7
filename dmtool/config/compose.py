"""What Hydra makes of words: configs, the choices one stands for, and how a value is quoted."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dmtool.config import kinds
from dmtool.config.validation import conf_dir, container, flat, in_one_line, nearest
from dmtool.errors import UserError


class OthersConfigs(SearchPathPlugin):
    """The configs of packages that add kinds, after dmtool's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder, package in kinds.conf_dirs().items():
            search_path.append(package, f"file://{folder}")


Plugins.instance().register(OthersConfigs)


def composed(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that `dmtool NAME OVERRIDES` would have, from Python."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose(name, [named(word) for word in overrides])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explained(error, name)) from error


def choices(word: str) -> list[str]:
    """The overrides that one with commas stands for, as in a sweep: a=1,2 -> a=1, a=2."""
    word = named(word)
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise UserError(_unreadable(word, str(error))) from error
    if not override.is_sweep_override():
        return [word]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


NAMES = frozenset(
    {"run", "root", "init", "artifact", "device", "vae", "unet", "upsampler", "bad", "path", "name",
     "weights", "backbone", "linear", "clip", "prompts", "project"}
)  # fmt: skip
"""The last parts of keys whose values are names, whatever number they look like, or paths."""


def named(word: str) -> str:
    """A word for Hydra in which a name is a name: run=0012, run=1_000 and run=1e5 stay as they are
    typed, and a path's `~` is the user's home."""
    match = re.fullmatch(r"(\+{0,2}(?:\w+\.)*(\w+))=(.+)", word, re.DOTALL)
    if match is None or match[2] not in NAMES:
        return word
    several = re.fullmatch(r"[\w.+-]+(,[\w.+-]+)+", match[3])
    texts = match[3].split(",") if several else [match[3]]
    return f"{match[1]}={','.join(_name(text) for text in texts)}"


def _name(text: str) -> str:
    if re.match("~(/|$)", text):
        return quoted(os.path.expanduser(text))
    try:
        value = _parsed(text)
    except HydraException:  # said when all words are read
        return text
    return quoted(text) if isinstance(value, bool | int | float) else text


def _unreadable(word: str, reason: str) -> str:
    """That a word is no key=value, and how its very value is quoted."""
    key, _, value = word.partition("=")
    line = f"cannot read {word!r} as key=value"
    for mark in "\"'":
        right = f"{key}={_in_quotes(value, mark)}"
        with suppress(HydraException):
            if OverridesParser.create().parse_override(right).value() == value != "":
                return f"{line} by Hydra's grammar; in quotes: {shlex.quote(right)}"
    return f"{line}: {reason.splitlines()[0]}"


def _in_quotes(text: str, mark: str) -> str:
    inner = re.sub(rf"(\\*)({mark}|$)", lambda m: m[1] * 2 + (f"\\{mark}" if m[2] else ""), text)
    return mark + inner.replace("${", "\\${") + mark


def quoted(text: str) -> str:
    """A text as Hydra has to be given it as the value of one key, to be that text again."""
    with suppress(HydraException):
        if re.fullmatch(r"[\w./+:@%-]+", text) and _parsed(text) == text:
            return text
    return _in_quotes(text, "'")


def _parsed(value: str) -> object:
    """What Hydra takes a value for."""
    override = OverridesParser.create().parse_override(f"x={value}")
    return None if override.is_sweep_override() else override.value()


def explained(error: Exception, name: str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, MissingConfigException) and len(lines) > 1:
        listed = takewhile(lambda line: not line.startswith("Config search"), lines[2:])
        options = [line for line in listed if not line.startswith("_")]  # those are parts of others
        return f"{lines[0]} (there are: {', '.join(options)})"
    if isinstance(error, OmegaConfBaseException):
        return in_one_line(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override or "", lines[0])
    unknown = re.search(r"Could not override '([^']+)'", lines[0])
    if unknown:
        return f"unknown key {unknown[1]!r}{_neighbour(unknown[1], name)}"
    return lines[0]


def _neighbour(key: str, name: str) -> str:
    values = container(composed(name))
    inside = key.rpartition(".")[0]
    paths = list(flat(values))
    if key in paths:
        return f": another option of {inside.replace('.', '/')} has it"
    siblings = [path.rpartition(".")[2] for path in paths if path.rpartition(".")[0] == inside]
    return nearest(key, values, siblings)
