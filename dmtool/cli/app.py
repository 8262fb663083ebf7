"""The application that the commands belong to, and what their options share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach us, and we say one line
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost process is one line of ours
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")  # a bar in a file is one endless line

app = typer.Typer(
    name="dmtool",
    help="Train a text-to-image system from scratch, stage by stage, and sample from it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
HYDRA = {"allow_extra_args": True, "ignore_unknown_options": True}
Seed = Annotated[
    int | None, typer.Option(min=0, help="Picture i is drawn from (seed, i); default: 0.")
]
OVERRIDES = "All further words are Hydra's: key=value, group=option, --cfg job, -m for sweeps."
Run = Annotated[str, typer.Argument(help="A run's name or directory.")]
Root = Annotated[str, typer.Option(help="The directory of runs.")]


def seed_word(seed: int | None) -> list[str]:
    """The override that --seed stands for; without it `seed=` is left as Hydra has it."""
    return [] if seed is None else [f"seed={seed}"]


def sort_words(words: list[str]) -> tuple[list[str], list[str]]:
    """(files, Hydra's words): an override holds '=' or begins with '-' and names no file."""
    overrides = [w for w in words if ("=" in w or w[:1] in "-~") and not Path(w).exists()]
    return [word for word in words if word not in overrides], overrides
