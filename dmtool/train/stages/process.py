"""The noise process of a training: what its card says, and the times that it draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dmtool.config.noise import (
    ExponentialShift,
    FixedShift,
    FlowNoise,
    LearnedVariance,
    LogitNormalTimes,
    LogNormalTimes,
    ModeTimes,
    Noise,
    SqrtShift,
    Times,
    UniformTimes,
)
from dmtool.config.validation import adapter
from dmtool.diffusion import noise
from dmtool.diffusion.noise import Schedule
from dmtool.train.feed import Place

QUARTERS = 4


def process_card(config: Noise, positions: int) -> dict[str, Any]:
    """What a card says of the noise process: all that a denoiser needs.

    `positions` of the noisy state, height times width, turn a rule of shifts into a number.
    """
    card: dict[str, Any] = adapter(type(config)).dump_python(config)
    del card["times"], card["weighting"], card["variance"]
    if isinstance(config.variance, LearnedVariance):
        card["variance"] = "learned"
    if config.sigma_data is None:
        del card["sigma_data"]
    if isinstance(config, FlowNoise):
        card["shift"] = SHIFTS[type(config.shift)](config.shift, positions)
    return card


SHIFTS: dict[type, Callable[[Any, int], float]] = {
    FixedShift: lambda config, _: config.value,
    SqrtShift: lambda c, positions: noise.sqrt_shift(c.value, positions, c.positions),
    ExponentialShift: lambda c, positions: noise.exponential_shift(positions, c.positions, c.mu),
}
"""Of a config, at so many positions of the state."""

TIMES: dict[type, Callable[[Any, Tensor, Schedule], Tensor]] = {
    UniformTimes: lambda _, u, __: noise.uniform(u),
    LogitNormalTimes: lambda config, u, _: noise.logit_normal(u, config.mean, config.std),
    ModeTimes: lambda config, u, _: noise.mode(u, config.scale),
    LogNormalTimes: lambda c, u, schedule: noise.log_normal(u, c.mean, c.std, schedule),
}
"""Of a config, from uniform numbers."""


def draw_times(
    config: Times, schedule: Schedule, uniform: Tensor, places: Sequence[Place], batch_size: int
) -> Tensor:
    """Training times [B] in (0, 1), float64, from uniform numbers [B], one a place."""
    uniform = uniform.double()
    if config.stratified:
        positions = torch.tensor([k % batch_size for k, _ in places])
        uniform = noise.stratify(uniform, positions, batch_size)
    return TIMES[type(config)](config, uniform, schedule)


def by_level(losses: Tensor, t: Tensor) -> dict[str, Tensor]:
    """`loss_t1` [B] has the losses [B] at times in [0, 1/4), and NaN elsewhere; to `loss_t4`.

    t is on the CPU and its numbers of each quarter need not be known to the device.
    """
    quarter = (t * QUARTERS).long().clamp(0, QUARTERS - 1)
    mask = one_hot(quarter, QUARTERS).bool().to(losses.device, non_blocking=True)
    levels = torch.where(mask, losses.detach()[:, None], torch.nan).unbind(1)
    return {f"loss_t{i}": level for i, level in enumerate(levels, 1)}
