"""Checked settings as the words of the command line that make them: to be read, and typed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dmtool.config import usual
from dmtool.config.compose import quoted
from dmtool.config.guidance import Guidance
from dmtool.config.kinds import option
from dmtool.config.sampling import Sampler
from dmtool.config.using import Defaults
from dmtool.config.validation import leaves

ALWAYS = ("scale", "interval.low", "interval.high")


def of_sampler(sampler: Sampler, place: str = "sampler") -> list[str]:
    """The words for a sampler, its grid and its threshold (unless that is `auto`): their kinds, and
    what is not as in `conf/`."""
    parts = {"grid": sampler.grid.kind, "threshold": sampler.threshold.kind}
    known = usual.sampler(sampler.kind, **parts)
    if parts["threshold"] == "auto":
        del parts["threshold"]
    own = place == "sampler"
    kind = option(sampler.kind)
    kinds = [f"sampler={kind}" if own else f"sampler@{place}={kind}"]
    for part, chosen in parts.items():
        kinds.append(f"sampler/{part}{'' if own else f'@{place}.{part}'}={chosen}")
    return [*kinds, *_others(place, asdict(sampler), known)]


def of_guidance(guidance: Guidance, always: Sequence[str] = ALWAYS) -> list[str]:
    """The words for a guidance: those of `always`, and what else is not as in `guidance=cfg`."""
    return [*_others("guidance", asdict(guidance), usual.guidance(), always)]


def of_defaults(settings: Defaults) -> list[str]:
    """The words for all groups that have settings."""
    words: list[str] = []
    if settings.sampler is not None:
        words += of_sampler(settings.sampler)
    if settings.guidance is not None:
        words += of_guidance(settings.guidance)
    if settings.upsample is not None:
        words += of_sampler(settings.upsample.sampler, "upsample.sampler")
        words.append(f"upsample.augmentation={_word(settings.upsample.augmentation)}")
    return words


def _others(
    package: str, values: Mapping[str, Any], usual: Mapping[str, Any], always: Sequence[str] = ()
) -> Iterator[str]:
    known = dict(leaves(usual))
    for name, value in leaves(values):
        plain = [*value] if isinstance(value, tuple) else value
        if name in always or name not in known or known[name] != plain:
            yield f"{package}.{name}={_word(plain)}"


def _word(value: object) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    return quoted(value) if isinstance(value, str) else json.dumps(value)
