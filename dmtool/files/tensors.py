"""Tensors in safetensors files. What only looks at a run need not wait for torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from dmtool.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def half(tensor: Tensor) -> Tensor:
    """Floating-point numbers in float16 and on the CPU, exact to 5e-4 of a value; unchanged where
    one does not fit."""
    import torch

    if not tensor.is_floating_point():
        return tensor
    narrow = tensor.to("cpu", torch.float16)
    return narrow if bool(narrow.isfinite().all()) else tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file."""
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; UserError if it is damaged or missing."""
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or missing: {error}") from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a safetensors file's tensors, of which nothing else is read."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            names = file.keys()
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or missing: {error}") from error
