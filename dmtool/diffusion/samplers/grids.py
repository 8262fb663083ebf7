"""Step grids: which times a sampler visits. Each states its last level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from dmtool.config.sampling import (
    Grid,
    KarrasGrid,
    LeadingGrid,
    LevelsGrid,
    LinspaceGrid,
    LogSnrGrid,
    RestartSampler,
    TrailingGrid,
    UniformGrid,
)
from dmtool.diffusion.noise import Schedule, T, log_snr
from dmtool.diffusion.samplers.base import level
from dmtool.errors import UserError


def grid(config: Grid, steps: int, schedule: Schedule) -> Tensor:
    """`steps` falling intervals, float64 [steps + 1]; UserError if the grid has not so many.

    The last is t = 0, the clean picture, or with `last: first` t = 1 / T, the first level of a
    discrete model. `uniform` and `log_snr` begin at t = 1, as does `trailing`. `uniform` has
    t = shift u / (1 + (shift - 1) u) at even u, as the timestep shift of rectified flows (Esser et
    al., arXiv:2403.03206, eq. 23).
    """
    times = KINDS[type(config)](config, steps, schedule)
    if bool((times.diff() >= 0).any()) or times[0] > 1 or (config.kind, steps) == ("linspace", 1):
        raise UserError(f"sampler/grid={config.kind} has no {steps} steps: {_advice(config)}")
    return times


def _advice(config: Grid) -> str:
    match config.kind:
        case "karras":
            return "its low lies above the schedule's largest sigma / alpha: lower it"
        case "leading":
            return f"it takes each of {T} steps once, with offset=0 and last=first only {T - 1}"
        case "linspace":
            return f"it takes at least 2, the two ends, and each of {T} steps once"
        case "levels":
            return "several of its levels lie above the schedule's largest sigma / alpha"
    return f"it takes each of {T} steps once: take fewer"


def _uniform(config: UniformGrid, steps: int, _: Schedule) -> Tensor:
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return config.shift * even / (config.shift * even + (1 - even))  # exact at both ends


def _even_in_log_snr(_: LogSnrGrid, steps: int, schedule: Schedule) -> Tensor:
    """Equal intervals of log-SNR between t = 0.999 and 0.001, with the two ends put in place."""
    ends = torch.tensor([0.999, 0.001], dtype=torch.float64)
    high, low = log_snr(*schedule(ends)).tolist()
    inner = schedule.time(torch.linspace(high, low, steps + 1, dtype=torch.float64))
    return torch.cat([torch.ones_like(ends[:1]), inner[1:-1], torch.zeros_like(ends[:1])])


def _karras(config: KarrasGrid, steps: int, schedule: Schedule) -> Tensor:
    high = min(config.high, level(torch.ones(()), schedule).ratio.item())
    falling = karras(config.low, high, config.rho, steps, schedule)
    return torch.cat([falling, torch.zeros_like(falling[:1])])


def karras(low: float, high: float, rho: float, count: int, schedule: Schedule) -> Tensor:
    """`count` times from sigma / alpha = `high` to `low`, evenly in its 1 / rho-th power.

    Karras et al., arXiv:2206.00364, eq. 5.
    """
    ends = high ** (1 / rho), low ** (1 / rho)
    ratios = torch.linspace(*ends, count, dtype=torch.float64) ** rho
    return schedule.time(-2 * ratios.log())


def _explicit(config: LevelsGrid, steps: int, schedule: Schedule) -> Tensor:
    """Times of explicit levels sigma / alpha; where they are not as many as wanted, interpolated
    log-linearly as AYS recommends (Sabour et al., arXiv:2404.14507)."""
    noisiest = level(torch.ones(()), schedule).ratio.item()
    numbers = [noisiest if each is None else each for each in config.levels]
    ratios = torch.tensor(numbers, dtype=torch.float64)
    if steps != len(numbers) - 1:
        ratios = interpolated(ratios, steps)
    times = schedule.time(-2 * ratios.log())
    times[-1] = 0
    return times


def interpolated(levels: Tensor, steps: int) -> Tensor:
    """Levels [K] as levels [steps + 1] of the same ends, log-linear between them; UserError if one
    of them is 0 or infinite."""
    logs = levels.log()
    if not bool(logs.isfinite().all()):
        raise UserError(
            f"sampler/grid=levels has {len(levels) - 1} steps; for {steps} they are interpolated, "
            "and null (here infinite) and 0 cannot be: give numbers, or take those steps"
        )
    places = torch.linspace(0, len(levels) - 1, steps + 1, dtype=torch.float64)
    left = places.floor().clamp(max=len(levels) - 2).long()
    return torch.lerp(logs[left], logs[left + 1], places - left).exp()


def _leading(config: LeadingGrid, steps: int, _: Schedule) -> Tensor:
    indices = _count(steps).flip(0) * (T // steps) + config.offset
    return _discrete(indices, config.last)


def _trailing(config: TrailingGrid, steps: int, _: Schedule) -> Tensor:
    return _discrete((T - _count(steps) * (T / steps)).round() - 1, config.last)


def _linspace(_: LinspaceGrid, steps: int, __: Schedule) -> Tensor:
    return _discrete(torch.linspace(0, T - 1, steps, dtype=torch.float64).flip(0).round(), "zero")


def _count(steps: int) -> Tensor:
    return torch.arange(steps, dtype=torch.float64)


def _discrete(indices: Tensor, last: Literal["zero", "first"]) -> Tensor:
    """Times of the indices of diffusers' timestep_spacing (Lin et al., arXiv:2305.08891, table 2).

    Index i is the time (i + 1) / T.
    """
    end = 1 / T if last == "first" else 0.0
    return torch.cat([(indices + 1) / T, torch.full((1,), end, dtype=torch.float64)])


KINDS: dict[type, Callable[[Any, int, Schedule], Tensor]] = {
    UniformGrid: _uniform,
    LogSnrGrid: _even_in_log_snr,
    LevelsGrid: _explicit,
    KarrasGrid: _karras,
    LeadingGrid: _leading,
    TrailingGrid: _trailing,
    LinspaceGrid: _linspace,
}


def with_restarts(times: Tensor, config: RestartSampler, schedule: Schedule) -> Tensor:
    """The times with `repeats` ways up to `high` and down again in `inner` intervals.

    They stand where sigma / alpha, below `high`, comes nearest to `low` (Xu et al.,
    arXiv:2306.14878, algorithm 1); a UserError if the grid begins below `high`.
    """
    _, sigma = schedule(times)
    ratios = sigma / schedule(times)[0]
    if ratios[0] < config.high:
        raise UserError(
            f"sampler.high={config.high} is noisier than the first of the grid's levels, "
            f"sigma / alpha = {ratios[0]:.3g}: lower it"
        )
    inner = ratios[1:-1]
    below = inner < config.high
    if not bool(below.any()):
        raise UserError(
            f"no level of the grid but the last lies below sampler.high={config.high}: take more "
            "steps, or a higher one"
        )
    place = 1 + int((inner - config.low).abs().where(below, torch.inf).argmin())
    down = karras(ratios[place].item(), config.high, config.rho, config.inner + 1, schedule)
    down[-1] = times[place]
    return torch.cat([times[: place + 1], down.repeat(config.repeats), times[place + 1 :]])


def resampled(times: Tensor, jump: int, repeats: int) -> Tensor:
    """The falling times, of which each stretch of `jump` intervals is walked `repeats` times.

    Between two walks they rise, at once (RePaint, Lugmayr et al., arXiv:2201.09865, figure 9). The
    stretches are counted from the end; the first `jump` intervals or less are walked once, for
    above them is the noise that a trajectory begins with.
    """
    count = len(times) - 1
    starts = range(count - jump, 0, -jump)[::-1]
    parts = [times[: starts[0] + 1] if starts else times]
    for start in starts:
        parts += [times[start + 1 : start + jump + 1]]
        parts += [times[start : start + jump + 1]] * (repeats - 1)
    return torch.cat(parts)
