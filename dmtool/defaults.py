"""An artifact's own defaults: Hydra words that its sampling starts from, in `defaults.json`.

The card is what an artifact is; this is how it is best used, found afterwards by `tune-sampler`.
The words stand before the user's own. Where the user says anything of a group (`sampler`,
`guidance`), the stored words of that group are left out.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtool import runs
from dmtool.config import container
from dmtool.errors import UserError, exit_codes
from dmtool.hydra_main import composed
from dmtool.runs import Artifact

CHOICES = ("run", "root", "artifact", "from.unet", "tuned")
"""The keys that say whose defaults are meant, and whether."""


@dataclass(frozen=True)
class Defaults:
    """The stored words, and how they were found: protocol and figures, for JSON."""

    words: list[str]
    found: dict[str, Any]


def file(artifact: Artifact) -> Path:
    """Where an artifact's defaults stand."""
    return artifact.path / "defaults.json"


def write(artifact: Artifact, words: Sequence[str], found: dict[str, Any]) -> Path:
    """Make `words` (as `sampler=unipc`) what sampling with this artifact starts from.

    They hold for these very weights: the card's sha256 is written beside them. Returns the file.
    """
    content = {"sha256": artifact.card["sha256"], "words": list(words), "found": found}
    runs.write_text(file(artifact), json.dumps(content, indent=1) + "\n")
    return file(artifact)


def read(artifact: Artifact) -> Defaults | None:
    """The artifact's defaults; None if there are none, or only those of other weights.

    UserError if the file is damaged.
    """
    if not file(artifact).is_file():
        return None
    try:
        content = json.loads(file(artifact).read_text())
        same = content["sha256"] == artifact.card["sha256"]
        return Defaults([*map(str, content["words"])], content["found"]) if same else None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file(artifact)} is damaged: delete it, or tune again") from error


def group(word: str) -> str:
    """The part of the config that a Hydra word sets: `sampler` of sampler/grid=karras and of
    sampler.steps=9, `upsample` of sampler@upsample.sampler=euler."""
    key = word.partition("=")[0].lstrip("+~").rpartition("@")[2]
    return re.split("[./]", key)[0]


def before(words: Sequence[str], stored: Sequence[str]) -> list[str]:
    """The stored words that the user's `words` leave standing."""
    named = {group(word) for word in words}
    return [word for word in stored if group(word) not in named]


def used(config: str, words: Sequence[str]) -> list[str]:
    """The stored words that go before the user's `words` of `conf/CONFIG.yaml`.

    None in a sweep over what they depend on, and where there is no such run: both are left to
    those who will say so.
    """
    chosen = [word for word in words if word.partition("=")[0] in CHOICES]
    try:
        values = container(composed(config, chosen))
        if not values["tuned"]:
            return []
        run = values["from"]["unet"] or values["run"]
        artifact = runs.find(run, "unet", values["root"], values["artifact"])
    except UserError:
        return []
    defaults = read(artifact)
    return before(words, defaults.words) if defaults else []


def added(config: str, words: Sequence[str]) -> list[str]:
    """The user's words after the stored ones, which are printed once."""
    with exit_codes():
        stored = used(config, words)
    if stored and os.environ.get("RANK", "0") == "0":
        line = " ".join(stored)
        print(f"defaults of this artifact: {line} (without them: tuned=false)", file=sys.stderr)
    return [*stored, *words]
