"""Numbers in at least float32: what half precision has too few digits for."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(dtype: torch.dtype) -> torch.dtype:
    """float32, or `dtype` if that is wider."""
    return torch.promote_types(dtype, torch.float32)


def wide(x: Tensor) -> Tensor:
    """The same numbers, in float32 if they were in less."""
    return x.to(widened(x.dtype))
