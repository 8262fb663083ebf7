"""From a config to the pictures' states: the sampler, its times, and a seed for each picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.denoise import Denoise
from dmtool.noise import Schedule
from dmtool.rng import generator
from dmtool.samplers.base import Bound, Sample, Step
from dmtool.samplers.dpm import dpm_solver
from dmtool.samplers.first_order import ddim, ddpm, euler, euler_ancestral
from dmtool.samplers.grids import grid, with_restarts
from dmtool.samplers.heun import edm, heun, restart
from dmtool.samplers.plms import plms
from dmtool.samplers.unipc import unipc
from dmtool.schemas import (
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

PLAIN: dict[str, Sample] = {
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "dpmpp_2m": partial(dpm_solver, order=2),
}

Key = tuple[int, int]
"""(seed, i): all that picture i of a prompt is drawn from."""


def build(config: Sampler) -> Sample:
    """The sampler that a config names."""
    match config:
        case PlainSampler():
            return PLAIN[config.kind]
        case DdpmSampler():
            return partial(ddpm, variance=config.variance)
        case DdimSampler():
            return partial(ddim, eta=config.eta)
        case DpmppSdeSampler():
            return partial(dpm_solver, order=2, eta=config.eta)
        case Dpmpp3mSampler():
            return partial(dpm_solver, order=3, curvature=config.curvature)
        case UniPCSampler():
            return partial(unipc, order=config.order)
        case PlmsSampler():
            return plms
        case HeunSampler():
            return heun
        case RestartSampler():
            return restart
        case EdmSampler():
            names = "s_churn", "s_tmin", "s_tmax", "s_noise"
            return partial(edm, **{name: getattr(config, name) for name in names})


def times(config: Sampler, schedule: Schedule) -> Tensor:
    """The times that a config's sampler visits, float64 [N + 1]; those of `restart` rise again."""
    falling = grid(config.grid, config.intervals, schedule)
    if isinstance(config, RestartSampler):
        return with_restarts(falling, config, schedule)
    return falling


def trajectory(
    denoiser: Denoise,
    cond: Cond,
    shape: tuple[int, ...],
    keys: Sequence[Key],
    config: Sampler,
    purpose: str,
    device: torch.device,
) -> Iterator[Step]:
    """All states of a batch [B, *shape], on `device`, one picture a key, beginning with noise.

    Each picture's noise is drawn from its key and `purpose` alone. The first state has the standard
    deviation of whitened data at its time. Its estimate is their mean, 0: the denoiser has not been
    asked yet.
    """
    draw = PictureNoise([(seed, purpose, i) for seed, i in keys])
    visited = times(config, denoiser.schedule)
    start = draw(torch.zeros(len(keys), *shape, device=device))
    start = start * torch.hypot(*denoiser.schedule(visited[0]))
    yield Step(visited[0].item(), start, torch.zeros_like(start))
    yield from build(config)(Bound(denoiser, cond), start, visited, noise=draw)


def last(steps: Iterable[Step]) -> Tensor:
    """The state after the last step; no other is kept."""
    return deque(steps, maxlen=1)[0].x


class PictureNoise:
    """Standard normal noise of which each picture draws its own, from its own key."""

    def __init__(self, keys: Sequence[tuple[int | str, ...]]) -> None:
        self.generators = [generator(*key) for key in keys]

    def __call__(self, x: Tensor) -> Tensor:
        rows = [torch.randn(x.shape[1:], generator=each) for each in self.generators]
        return torch.stack(rows).to(x)
