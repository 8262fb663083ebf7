"""Training times from an example's uniform number and its place in the global batch."""

from __future__ import annotations

import torch
from torch import Tensor

from dmtool import noise
from dmtool.schemas import Noise
from dmtool.train.examples import Place


def draw_times(config: Noise, uniform: Tensor, places: list[Place], batch_size: int) -> Tensor:
    """Training times [B] in (0, 1), float64, from uniform numbers [B], one a place."""
    uniform, times = uniform.double(), config.times
    if times.stratified:
        positions = torch.tensor([k % batch_size for k, _ in places])
        uniform = noise.stratify(uniform, positions, batch_size)
    return noise.draw_times(times.kind, uniform, times.mean, times.std)
