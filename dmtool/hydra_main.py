"""Hydra's main function, called with the arguments that Typer left over."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dmtool.config import conf_dir, container, flat, in_one_line, nearest
from dmtool.errors import JobFailed, UserError, exit_codes
from dmtool.say import say

MANY = {"-m", "--multirun"}
"""The words of a sweep."""


def run(
    name: str,
    task: Callable[[DictConfig], None],
    arguments: Sequence[str],
    *,
    apart: Sequence[str] | None = None,
    out: object = None,
) -> None:
    """Compose `conf/name.yaml` with Hydra's `arguments` and call `task`; exits on errors.

    A task that writes where only the keys `apart` say (None: where Hydra says), or to `out`, is
    refused a sweep over other keys.
    """
    with exit_codes():
        _refuse_sweeps_in_process_groups(arguments)
        arguments = [named(word) for word in arguments]
        if apart is not None:
            _refuse_jobs_of_one_file(arguments, apart, out)
        sys.argv = [f"dmtool {name.replace('_', '-')}", *arguments]
        main = hydra.main(config_path=str(conf_dir()), config_name=name, version_base="1.3")
        try:
            main(task)()  # the task leaves by SystemExit: all else is about the arguments
        except JobFailed as failed:
            say(f"dmtool: {failed.line}", error=True)
            raise SystemExit(failed.code) from failed
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise UserError(_explain(error, name)) from error
        except OSError as error:  # Hydra makes the run's directory
            raise UserError(f"{error.filename} cannot be made: {error.strerror}") from error


def composed(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that `dmtool NAME OVERRIDES` would have, from Python."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose(name, [named(word) for word in overrides])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error, name)) from error


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


def _refuse_jobs_of_one_file(arguments: Sequence[str], apart: Sequence[str], out: object) -> None:
    if not MANY & set(arguments):
        return
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    swept = [word for word in words if len(choices(word)) > 1]
    same = [word for word in swept if out or word.partition("=")[0] not in apart]
    if same:
        raise UserError(
            f"the jobs of {' '.join(same)} would all write {out or 'the same files'}, and the last "
            "one's would be left: call the command once for each, with --out (or measure all by "
            "dmtool eval-sweep)"
        )


def _refuse_sweeps_in_process_groups(arguments: Sequence[str]) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and MANY & set(arguments):
        raise UserError(
            "-m sweeps do not go with several processes of one training: start one sweep without "
            "accelerate launch, or one training without -m"
        )


def _explain(error: Exception, name: str) -> str:
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
    siblings = [path.rpartition(".")[2] for path in paths if path.rpartition(".")[0] == inside]
    return nearest(key, values, siblings)
