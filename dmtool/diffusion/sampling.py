"""The door of the samplers: from a config to the sampler, grid and threshold that it names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.config.kinds import Builders
from dmtool.config.sampling import (
    DdimSampler,
    DdpmSampler,
    Dpmpp2mSampler,
    Dpmpp3mSampler,
    DpmppSdeSampler,
    EdmSampler,
    EulerAncestralSampler,
    EulerSampler,
    HeunSampler,
    KarrasGrid,
    LeadingGrid,
    LevelsGrid,
    LinspaceGrid,
    LogSnrGrid,
    PlmsSampler,
    RestartSampler,
    Sampler,
    TrailingGrid,
    UniformGrid,
    UniPCSampler,
)
from dmtool.config.sampling import Grid as GridConfig
from dmtool.config.threshold import (
    AutoThreshold,
    DynamicThreshold,
    NoThreshold,
    StaticThreshold,
    Threshold,
)
from dmtool.diffusion.denoise import Denoise
from dmtool.diffusion.guidance import Clip, Thresholded, dynamic, static
from dmtool.diffusion.noise import Schedule
from dmtool.diffusion.samplers import (
    Grid,
    Known,
    Sample,
    Source,
    Step,
    ddim,
    ddpm,
    dpm_solver,
    edm,
    euler,
    euler_ancestral,
    grids,
    heun,
    plms,
    resampled,
    restart,
    states,
    unipc,
)
from dmtool.errors import UserError

KINDS: Builders[Callable[[Any], Sample]] = Builders("sampler", {
    EulerSampler: lambda _: euler,
    EulerAncestralSampler: lambda _: euler_ancestral,
    Dpmpp2mSampler: lambda _: partial(dpm_solver, order=2),
    DdpmSampler: lambda config: partial(ddpm, variance=config.variance),
    DdimSampler: lambda config: partial(ddim, eta=config.eta),
    DpmppSdeSampler: lambda config: partial(dpm_solver, order=2, eta=config.eta),
    Dpmpp3mSampler: lambda config: partial(dpm_solver, order=3, curvature=config.curvature),
    UniPCSampler: lambda config: partial(unipc, order=config.order),
    PlmsSampler: lambda _: plms,
    HeunSampler: lambda _: heun,
    RestartSampler: lambda _: restart,
    EdmSampler: lambda config: partial(
        edm,
        steps=config.intervals,
        s_churn=config.s_churn,
        s_tmin=config.s_tmin,
        s_tmax=config.s_tmax,
        s_noise=config.s_noise,
    ),
})  # fmt: skip

RISING: dict[type, Callable[[Any, Tensor, Schedule], Tensor]] = {
    RestartSampler: lambda config, falling, schedule: grids.with_restarts(
        falling,
        schedule,
        low=config.low,
        high=config.high,
        inner=config.inner,
        repeats=config.repeats,
        rho=config.rho,
    ),
}
"""Of samplers that go back by themselves: their times, of a grid's."""

GRIDS: dict[type, Callable[[Any], Grid]] = {
    UniformGrid: lambda config: partial(grids.uniform, shift=config.shift),
    LogSnrGrid: lambda _: grids.even_in_log_snr,
    LevelsGrid: lambda config: partial(grids.explicit, levels=config.levels),
    KarrasGrid: lambda config: partial(
        grids.to_clean, low=config.low, high=config.high, rho=config.rho
    ),
    LeadingGrid: lambda config: partial(grids.leading, offset=config.offset, last=config.last),
    TrailingGrid: lambda config: partial(grids.trailing, last=config.last),
    LinspaceGrid: lambda _: grids.linspace,
}

THRESHOLDS: dict[type, Callable[[Any], Clip | None]] = {
    NoThreshold: lambda _: None,
    StaticThreshold: lambda _: static,
    DynamicThreshold: lambda config: partial(
        dynamic,
        share=config.percentile / 100,
        bound=math.inf if config.bound is None else config.bound,
    ),
}

AUTO: dict[bool, Threshold] = {
    True: StaticThreshold(kind="static"),
    False: NoThreshold(kind="none"),
}
"""The threshold that `auto` stands for, by whether pictures are sampled."""


def build(config: Sampler) -> Sample:
    """The sampler that a config names."""
    return KINDS.of(config)(config)


def grid(config: GridConfig, steps: int, schedule: Schedule) -> Tensor:
    """`steps` falling intervals, float64 [steps + 1]; UserError if the grid has not so many."""
    try:
        return GRIDS[type(config)](config)(steps, schedule)
    except ValueError as error:
        raise UserError(f"sampler/grid={config.kind} has no {steps} steps: {error}") from error


def times(config: Sampler, schedule: Schedule, given: Known | None = None) -> Tensor:
    """The times that a config's sampler visits, float64 [N + 1].

    Of a given picture's strength S they are the last S N intervals of the grid (rounded, at least
    one). Those of `restart` rise again, as do those of a known picture's resampling.
    """
    falling = grid(config.grid, config.intervals, schedule)
    if given is not None:
        falling = grids.ending(falling, given.strength)
    resampling = given is not None and given.repeats > 1
    if type(config) in RISING:
        if resampling:
            raise UserError(
                f"sampler={config.kind} goes back by itself: with a mask set "
                "edit.inpaint.repeats=1, or take sampler=heun"
            )
        return RISING[type(config)](config, falling, schedule)
    if given is None or not resampling:
        return falling
    half = max(1, (len(falling) - 1) // 2)  # of a longer jump nothing would be walked again
    return resampled(falling, min(given.jump, half), given.repeats)


def trajectory(
    denoiser: Denoise,
    cond: Cond,
    shape: tuple[int, ...],
    sources: Sequence[Source],
    config: Sampler,
    purpose: str,
    device: torch.device,
    given: Known | None = None,
) -> Iterator[Step]:
    """All states of a batch by a config's sampler on its times; see `trajectory.states`."""
    visited = times(config, denoiser.schedule, given)
    return states(denoiser, cond, shape, sources, build(config), visited, purpose, device, given)


def settled(config: Sampler, *, pictures: bool) -> Sampler:
    """The config with what `auto` stands for: static where pictures are sampled, else none.

    UserError for another threshold of latents, which have no range.
    """
    if isinstance(config.threshold, AutoThreshold):
        return replace(config, threshold=AUTO[pictures])
    if not pictures and clip(config) is not None:
        raise UserError(
            f"sampler/threshold={config.threshold.kind} is for pictures, whose values lie in "
            "[-1, 1], and this noise predictor makes latents: take sampler/threshold=auto"
        )
    return config


def clip(config: Sampler) -> Clip | None:
    """What a settled config's threshold does to estimates, if anything."""
    return THRESHOLDS[type(config.threshold)](config.threshold)


def thresholded(denoiser: Denoise, config: Sampler) -> Denoise:
    """The denoiser, guided or not, with a settled config's threshold around it."""
    clipped = clip(config)
    return denoiser if clipped is None else Thresholded(denoiser, clipped)
