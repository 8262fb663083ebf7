"""Vision networks of transformers, from a folder or the hub's cache: safetensors, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError

from dmtool.errors import UserError
from dmtool.text import pretrained

OPTION = "extractor.weights"


def read(name: str, model: str) -> tuple[Any, str]:
    """The network that `name` names, by transformers' class `model`, and its weights' sha256.

    Raises UserError if it is not there, not complete, or has weights in pickles only.
    """
    folder = pretrained.find(name, "vision network", OPTION)
    sha256 = pretrained.weights_digest(folder)
    try:
        with pretrained.quiet():
            network, info = getattr(transformers, model).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported in info
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{folder}: the vision network cannot be read: {reason}") from error
    pretrained.check_complete(folder, info)
    return network.float(), sha256


def is_script(name: str) -> bool:
    """Whether `name` is a file, and then a TorchScript."""
    return Path(name).expanduser().is_file()
