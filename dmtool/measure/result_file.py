"""The file of an evaluation: where a run keeps it, and that its figures are said beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from dmtool import runs
from dmtool.files.atomic import write_json
from dmtool.say import say


class OfRun(Protocol):
    """The config of a command that measures a run."""

    @property
    def run(self) -> str: ...

    @property
    def root(self) -> str: ...


def place(config: OfRun, name: str) -> Path:
    """Where the evaluation of a run that is called `name` is kept."""
    return runs.run_dir(config.run, config.root) / "eval" / f"{name}.json"


def publish(result: dict[str, Any], text: str, path: Path | None, drawn: str = "") -> None:
    """Write a result to `path`, if there is one, and print its figures, and where they are;
    `drawn` says the same of pictures."""
    if path:
        write_json(path, result)
    say(text, *([f"written to {path}{drawn}"] if path else []))
