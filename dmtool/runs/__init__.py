"""The run directory: the only hand-over between stages."""

from dmtool.runs.artifact import (
    FORMAT,
    SEAL,
    Artifact,
    existing,
    find,
    generator,
    load,
    parent,
    run_dir,
    save,
)

__all__ = [
    "FORMAT",
    "SEAL",
    "Artifact",
    "existing",
    "find",
    "generator",
    "load",
    "parent",
    "run_dir",
    "save",
]
