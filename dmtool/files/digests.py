"""What things are addressed by: their sha256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from dmtool.files import reading


def digest(value: Any) -> str:
    """The sha256 (hex) of a value that JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 (hex) of a file's bytes; reading.Unreadable if it is none."""
    with reading.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
