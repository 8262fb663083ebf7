"""What is computed once and kept: directories addressed by the content they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def root() -> Path:
    """The cache's directory: `$DMTOOL_CACHE`, else `$XDG_CACHE_HOME/dmtool`."""
    if "DMTOOL_CACHE" in os.environ:
        return Path(os.environ["DMTOOL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dmtool"


def digest(value: Any) -> str:
    """The sha256 (hex) of a value that JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def directory(kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
    """The directory `kind/sha256(key)`, filled by `build(path)` if it is not there yet.

    It appears whole or not at all: `build` writes to a temporary place that is renamed at the
    end, so that a killed or a second concurrent builder leaves nothing half done. `key` must
    name everything the content depends on.
    """
    target = root() / kind / digest(key)[:24]
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        build(temporary)
        (temporary / "key.json").write_text(json.dumps(dict(key), indent=1, sort_keys=True))
        _rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was faster: its content is the same
            raise
