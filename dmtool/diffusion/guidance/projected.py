"""Adaptive projected guidance: high scales without oversaturation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtool.nn.precision import wide


@dataclass
class Projection:
    """Bends the direction of guidance (Sadat et al., arXiv:2410.02416, algorithm 1).

    The difference gets `momentum` times what it was before (negative: pushes away from it), is
    shortened to length `norm` at most, over all values of a picture, and of its part parallel to
    the positive estimate remains `eta`. It remembers, so one is made for each trajectory; calls are
    all of the same batch.
    """

    eta: float
    momentum: float
    norm: float | None
    average: Tensor | None = None

    def __call__(self, positive: Tensor, difference: Tensor) -> Tensor:
        """Both [B, ...]; computed in at least float32."""
        away = self._averaged(wide(difference)).flatten(1)
        if self.norm is not None:
            away = away * (self.norm / _length(away)).clamp(max=1)
        unit = wide(positive).flatten(1)
        unit = unit / _length(unit)
        parallel = (away * unit).sum(1, keepdim=True) * unit
        return (away - (1 - self.eta) * parallel).reshape(positive.shape).to(positive.dtype)

    def _averaged(self, difference: Tensor) -> Tensor:
        if self.average is None:
            self.average = torch.zeros_like(difference)
        self.average = difference + self.momentum * self.average
        return self.average


def _length(rows: Tensor) -> Tensor:
    """Euclidean lengths [B, 1] of [B, n], never 0."""
    return rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
