"""The run directory: the only hand-over between stages."""

from dmtool.runs.artifact import (
    FORMAT,
    OLD,
    PARTIAL,
    SEAL,
    Artifact,
    Fill,
    find,
    load,
    nothing,
    parent,
    read_shapes,
    read_tensors,
    recover,
    remove_directory,
    replace_directory,
    run_dir,
    save,
    write_tensors,
    write_text,
)

__all__ = [
    "FORMAT", "OLD", "PARTIAL", "SEAL", "Artifact", "Fill", "find", "load", "nothing", "parent",
    "read_shapes", "read_tensors", "recover", "remove_directory", "replace_directory", "run_dir",
    "save", "write_tensors", "write_text",
]  # fmt: skip
