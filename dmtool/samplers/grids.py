"""Step grids: which times a sampler visits. Each states its last level."""

from __future__ import annotations

import torch
from torch import Tensor

from dmtool.errors import UserError
from dmtool.noise import Schedule, T, log_snr
from dmtool.samplers.base import level
from dmtool.schemas import EvenGrid, Grid, KarrasGrid, LeadingGrid, RestartSampler, TrailingGrid


def grid(config: Grid, steps: int, schedule: Schedule) -> Tensor:
    """`steps` falling intervals, float64 [steps + 1]; UserError if the grid has not so many.

    The last is t = 0, the clean picture, or with `last: first` t = 1 / T, the first level of a
    discrete model. `uniform` and `log_snr` begin at t = 1, as does `trailing`.
    """
    times = _grid(config, steps, schedule)
    if bool((times.diff() >= 0).any()) or times[0] > 1 or (config.kind, steps) == ("linspace", 1):
        raise UserError(f"sampler/grid={config.kind} has no {steps} steps: {_advice(config)}")
    return times


def _grid(config: Grid, steps: int, schedule: Schedule) -> Tensor:
    if isinstance(config, EvenGrid):
        even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        return even if config.kind == "uniform" else _even_in_log_snr(even, schedule)
    if isinstance(config, KarrasGrid):
        count, zero = steps, torch.zeros(1, dtype=torch.float64)
        high = min(config.high, level(torch.ones(()), schedule).ratio.item())
        return torch.cat([karras(config.low, high, config.rho, count, schedule), zero])
    return _discrete(config, steps)


def _advice(config: Grid) -> str:
    match config.kind:
        case "karras":
            return "its low lies above the schedule's largest sigma / alpha: lower it"
        case "leading":
            return f"it takes each of {T} steps once, with offset=0 and last=first only {T - 1}"
        case "linspace":
            return f"it takes at least 2, the two ends, and each of {T} steps once"
    return f"it takes each of {T} steps once: take fewer"


def _even_in_log_snr(even: Tensor, schedule: Schedule) -> Tensor:
    """Equal intervals of log-SNR between t = 0.999 and 0.001, with the two ends put in place."""
    ends = torch.tensor([0.999, 0.001], dtype=torch.float64)
    high, low = log_snr(*schedule(ends)).tolist()
    inner = schedule.time(torch.linspace(high, low, len(even), dtype=torch.float64))
    return torch.cat([even[:1], inner[1:-1], even[-1:]])


def karras(low: float, high: float, rho: float, count: int, schedule: Schedule) -> Tensor:
    """`count` times from sigma / alpha = `high` to `low`, evenly in its 1 / rho-th power.

    Karras et al., arXiv:2206.00364, eq. 5.
    """
    ends = high ** (1 / rho), low ** (1 / rho)
    ratios = torch.linspace(*ends, count, dtype=torch.float64) ** rho
    return schedule.time(-2 * ratios.log())


def _discrete(config: Grid, steps: int) -> Tensor:
    """The indices of diffusers' timestep_spacing (Lin et al., arXiv:2305.08891, table 2), as times.

    Index i is the time (i + 1) / T.
    """
    count = torch.arange(steps, dtype=torch.float64)
    if isinstance(config, LeadingGrid):
        indices = count.flip(0) * (T // steps) + config.offset
    elif isinstance(config, TrailingGrid):
        indices = (T - count * (T / steps)).round() - 1
    else:
        indices = torch.linspace(0, T - 1, steps, dtype=torch.float64).flip(0).round()
    first = isinstance(config, LeadingGrid | TrailingGrid) and config.last == "first"
    return torch.cat([(indices + 1) / T, torch.full((1,), first / T, dtype=torch.float64)])


def with_restarts(times: Tensor, config: RestartSampler, schedule: Schedule) -> Tensor:
    """The times with `repeats` ways up to `high` and down again in `inner` intervals.

    They stand where sigma / alpha comes nearest to `low` (Xu et al., arXiv:2306.14878, algorithm
    1); a UserError if the grid begins below `high`.
    """
    _, sigma = schedule(times)
    ratios = sigma / schedule(times)[0]
    if ratios[0] < config.high:
        raise UserError(
            f"sampler.high={config.high} is noisier than the first of the grid's levels, "
            f"sigma / alpha = {ratios[0]:.3g}: lower it"
        )
    inner = ratios[1:-1]
    if not bool((inner < config.high).any()):
        raise UserError(
            f"no level of the grid but the last lies below sampler.high={config.high}: take more "
            "steps, or a higher one"
        )
    place = 1 + int((inner - config.low).abs().argmin())
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
