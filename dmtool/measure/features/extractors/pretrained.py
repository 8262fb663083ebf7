"""Vision networks of transformers, from a folder or the hub's cache: safetensors, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dmtool.text import pretrained

OPTION = "extractor.weights"


def read(name: str, model: str) -> tuple[Any, str]:
    """The network that `name` names, by transformers' class `model`, and its weights' sha256.

    Raises UserError if it is not there, not complete, or has weights in pickles only.
    """
    folder = pretrained.find(name, "vision network", OPTION)
    return pretrained.network(model, folder), pretrained.weights_digest(folder)


def is_script(name: str) -> bool:
    """Whether `name` is a file, and then a TorchScript."""
    return Path(name).expanduser().is_file()
