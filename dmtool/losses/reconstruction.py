"""Errors of reconstructed pictures, value by value."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "charbonnier": lambda x, y: torch.sqrt((x - y) ** 2 + 1e-6).mean(),
}
"""Means over all values; Charbonnier's is a smooth L1."""


def saturated(output: Tensor, x: Tensor) -> Tensor:
    """`output`, but x where x in [-1, 1] is at an end of its range and `output` beyond it.

    Pictures are clamped, so what lies beyond white is white: there is no error, and no gradient.
    """
    return torch.where((x.abs() == 1) & (output * x > 1), x, output)
