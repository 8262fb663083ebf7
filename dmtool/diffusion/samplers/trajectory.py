"""From a config to the pictures' states: the sampler, its times, and a seed for each picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.config.sampling import (
    DdimSampler,
    DdpmSampler,
    Dpmpp3mSampler,
    DpmppSdeSampler,
    EdmSampler,
    HeunSampler,
    PlainSampler,
    PlmsSampler,
    RestartSampler,
    Sampler,
    UniPCSampler,
)
from dmtool.diffusion.denoise import Denoise
from dmtool.diffusion.noise import Schedule
from dmtool.diffusion.samplers.base import Bound, Sample, Step, level
from dmtool.diffusion.samplers.dpm import dpm_solver
from dmtool.diffusion.samplers.draws import Source, picture_noise
from dmtool.diffusion.samplers.first_order import ddim, ddpm, euler, euler_ancestral
from dmtool.diffusion.samplers.grids import grid, resampled, with_restarts
from dmtool.diffusion.samplers.heun import edm, heun, restart
from dmtool.diffusion.samplers.known import Known
from dmtool.diffusion.samplers.plms import plms
from dmtool.diffusion.samplers.renoise import renoising
from dmtool.diffusion.samplers.unipc import unipc
from dmtool.errors import UserError

PLAIN: dict[str, Sample] = {
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "dpmpp_2m": partial(dpm_solver, order=2),
}


KINDS: dict[type, Callable[[Any], Sample]] = {
    PlainSampler: lambda config: PLAIN[config.kind],
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
}


def build(config: Sampler) -> Sample:
    """The sampler that a config names."""
    return KINDS[type(config)](config)


def times(config: Sampler, schedule: Schedule, given: Known | None = None) -> Tensor:
    """The times that a config's sampler visits, float64 [N + 1].

    Of a given picture's strength S they are the last S N intervals of the grid (rounded, at least
    one). Those of `restart` rise again, as do those of a known picture's resampling.
    """
    falling = grid(config.grid, config.intervals, schedule)
    if given is not None:
        falling = falling[-1 - max(1, round(given.strength * config.intervals)) :]
    resampling = given is not None and given.repeats > 1
    if isinstance(config, RestartSampler):
        if resampling:
            raise UserError(
                "sampler=restart goes back by itself: with a mask set edit.inpaint.repeats=1, or "
                "take sampler=heun"
            )
        return with_restarts(falling, config, schedule)
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
    """All states of a batch [B, *shape], on `device`, one picture a source, beginning with noise.

    Each picture's noise is drawn from its source and `purpose` alone. The first state has the
    standard deviation of whitened data at its time, or is a `given` picture with noise. Its
    estimate is their mean, 0: the denoiser has not been asked yet.
    """
    draw, visited = picture_noise(sources, purpose), times(config, denoiser.schedule, given)
    noise = draw(torch.zeros(len(sources), *shape, device=device))
    start = noise * torch.hypot(*denoiser.schedule(visited[0]))
    sampler = build(config)
    if given is not None:
        start = given.begun(noise, start, level(visited[0], denoiser.schedule))
        denoiser, sampler = given.kept(denoiser), renoising(sampler)
    yield Step(visited[0].item(), start, torch.zeros_like(start))
    yield from sampler(Bound(denoiser, cond), start, visited, noise=draw)


def last(steps: Iterable[Step]) -> Tensor:
    """The state after the last step; no other is kept."""
    return deque(steps, maxlen=1)[0].x
