"""Training times from an example's uniform number and its place in the global batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dmtool import noise
from dmtool.schemas import Noise
from dmtool.train.examples import Place

QUARTERS = 4


def draw_times(config: Noise, uniform: Tensor, places: list[Place], batch_size: int) -> Tensor:
    """Training times [B] in (0, 1), float64, from uniform numbers [B], one a place."""
    uniform, times = uniform.double(), config.times
    if times.stratified:
        positions = torch.tensor([k % batch_size for k, _ in places])
        uniform = noise.stratify(uniform, positions, batch_size)
    return noise.draw_times(times.kind, uniform, times.mean, times.std)


def by_level(losses: Tensor, t: Tensor) -> dict[str, Tensor]:
    """`loss_t1` [B] has the losses [B] at times in [0, 1/4), and NaN elsewhere; to `loss_t4`.

    t is on the CPU and its numbers of each quarter need not be known to the device.
    """
    quarter = (t * QUARTERS).long().clamp(0, QUARTERS - 1)
    mask = one_hot(quarter, QUARTERS).bool().to(losses.device, non_blocking=True)
    levels = torch.where(mask, losses.detach()[:, None], torch.nan).unbind(1)
    return {f"loss_t{i}": level for i, level in enumerate(levels, 1)}
