"""How t is drawn in training: uniform numbers of any shape -> times, by inverting a density.

All rise with the uniform number, so strata of it are strata of the times. The ends, where a
prediction may be undefined, stay out of reach.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dmtool.diffusion.noise.continuous import Schedule

END = 1e-4
"""How near times come to 0 and 1."""

TAIL = 1e-6
"""The share of a normal's tail that is cut off at either end."""


def uniform(numbers: Tensor) -> Tensor:
    """Uniform times."""
    return numbers.clamp(END, 1 - END)


def logit_normal(numbers: Tensor, mean: float, std: float) -> Tensor:
    """The sigmoid of a normal (Esser et al., arXiv:2403.03206, eq. 19)."""
    return uniform(torch.sigmoid(mean + std * _normal(uniform(numbers))))


def mode(numbers: Tensor, scale: float) -> Tensor:
    """Mode sampling with heavy tails (Esser et al., arXiv:2403.03206, eq. 20), of u = 1 - numbers.

    `scale` in [-1, 2 / (pi - 2)] favours the middle times, or if negative the ends.
    """
    bend = torch.sin(numbers * math.pi / 2) ** 2 - numbers
    return uniform(numbers - scale * bend)


def log_normal(numbers: Tensor, mean: float, std: float, schedule: Schedule) -> Tensor:
    """Times at which ln(sigma / alpha) is normal (Karras et al., arXiv:2206.00364, table 1)."""
    log_sigma = mean + std * _normal(numbers.clamp(TAIL, 1 - TAIL))
    return schedule.time(-2 * log_sigma)


def stratify(numbers: Tensor, positions: Tensor, batch_size: int) -> Tensor:
    """One uniform number for each stratum of the global batch (low discrepancy).

    `numbers` and `positions` are [B]; position p of the global batch falls into
    [p / batch_size, (p + 1) / batch_size), so any share of the batch can be drawn apart.
    """
    return (positions + numbers) / batch_size


def _normal(numbers: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * numbers - 1)
