"""Step grids: which times a sampler visits. Each states its last level.

A grid has `steps` falling intervals on a schedule, float64 [steps + 1]; ValueError says why it has
not so many. The last is t = 0, the clean picture, or with `last` first t = 1 / T, the first level
of a discrete model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dmtool.diffusion.noise import Schedule, T, log_snr
from dmtool.diffusion.samplers.base import level
from dmtool.errors import UserError

Grid = Callable[[int, Schedule], Tensor]
"""A grid with its own settings bound."""

ONCE = f"it takes each of {T} steps once"
TWO = f"it takes at least 2, the two ends, and each of {T} steps once"


def uniform(steps: int, schedule: Schedule, *, shift: float) -> Tensor:
    """From t = 1, t = shift u / (1 + (shift - 1) u) at even u, as the timestep shift of rectified
    flows (Esser et al., arXiv:2403.03206, eq. 23)."""
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return _falling(shift * even / (shift * even + (1 - even)))  # exact at both ends


def even_in_log_snr(steps: int, schedule: Schedule) -> Tensor:
    """Equal intervals of log-SNR between t = 0.999 and 0.001, with the two ends put in place."""
    ends = torch.tensor([0.999, 0.001], dtype=torch.float64)
    high, low = log_snr(*schedule(ends)).tolist()
    inner = schedule.time(torch.linspace(high, low, steps + 1, dtype=torch.float64))
    return _falling(torch.cat([torch.ones_like(ends[:1]), inner[1:-1], torch.zeros_like(ends[:1])]))


def to_clean(steps: int, schedule: Schedule, *, low: float, high: float, rho: float) -> Tensor:
    """The times of `karras`, as far as the schedule goes, and then the clean picture."""
    high = min(high, level(torch.ones(()), schedule).ratio.item())
    falling = karras(low, high, rho, steps, schedule)
    lower = "its low lies above the schedule's largest sigma / alpha: lower it"
    return _falling(torch.cat([falling, torch.zeros_like(falling[:1])]), lower)


def karras(low: float, high: float, rho: float, count: int, schedule: Schedule) -> Tensor:
    """`count` times from sigma / alpha = `high` to `low`, evenly in its 1 / rho-th power.

    Karras et al., arXiv:2206.00364, eq. 5.
    """
    ends = high ** (1 / rho), low ** (1 / rho)
    ratios = torch.linspace(*ends, count, dtype=torch.float64) ** rho
    return schedule.time(-2 * ratios.log())


def explicit(steps: int, schedule: Schedule, *, levels: Sequence[float | None]) -> Tensor:
    """Times of explicit levels sigma / alpha, of which None is the noisiest; where they are not as
    many as wanted, interpolated log-linearly as AYS recommends (Sabour et al., arXiv:2404.14507).

    In place of the last stands the clean picture.
    """
    noisiest = level(torch.ones(()), schedule).ratio.item()
    numbers = [noisiest if each is None else each for each in levels]
    ratios = torch.tensor(numbers, dtype=torch.float64)
    if steps != len(numbers) - 1:
        ratios = interpolated(ratios, steps)
    times = schedule.time(-2 * ratios.log())
    times[-1] = 0
    return _falling(times, "several of its levels lie above the schedule's largest sigma / alpha")


def interpolated(levels: Tensor, steps: int) -> Tensor:
    """Levels [K] as levels [steps + 1] of the same ends, log-linear between them; ValueError if one
    of them is 0 or infinite."""
    logs = levels.log()
    if not bool(logs.isfinite().all()):
        raise ValueError(
            f"it has {len(levels) - 1} steps; for {steps} they are interpolated, "
            "and null (here infinite) and 0 cannot be: give numbers, or take those steps"
        )
    places = torch.linspace(0, len(levels) - 1, steps + 1, dtype=torch.float64)
    left = places.floor().clamp(max=len(levels) - 2).long()
    return torch.lerp(logs[left], logs[left + 1], places - left).exp()


def leading(steps: int, schedule: Schedule, *, offset: int, last: str) -> Tensor:
    """The indices 0, T / steps, ... of a discrete model, moved by `offset`."""
    indices = _count(steps).flip(0) * (T // steps) + offset
    return _discrete(indices, last, f"{ONCE}, with offset=0 and last=first only {T - 1}")


def trailing(steps: int, schedule: Schedule, *, last: str) -> Tensor:
    """The indices T - 1, T - 1 - T / steps, ... of a discrete model."""
    return _discrete((T - _count(steps) * (T / steps)).round() - 1, last)


def linspace(steps: int, schedule: Schedule) -> Tensor:
    """Indices of a discrete model from its last to its first, both of them."""
    if steps == 1:
        raise ValueError(TWO)
    even = torch.linspace(0, T - 1, steps, dtype=torch.float64).flip(0).round()
    return _discrete(even, "zero", TWO)


def _count(steps: int) -> Tensor:
    return torch.arange(steps, dtype=torch.float64)


def _discrete(indices: Tensor, last: str, reason: str = f"{ONCE}: take fewer") -> Tensor:
    """Times of the indices of diffusers' timestep_spacing (Lin et al., arXiv:2305.08891, table 2).

    Index i is the time (i + 1) / T.
    """
    end = 1 / T if last == "first" else 0.0
    ends = torch.full((1,), end, dtype=torch.float64)
    return _falling(torch.cat([(indices + 1) / T, ends]), reason)


def _falling(times: Tensor, reason: str = f"{ONCE}: take fewer") -> Tensor:
    """The times; ValueError with the reason if they do not fall, or begin above 1."""
    if bool((times.diff() >= 0).any()) or times[0] > 1:
        raise ValueError(reason)
    return times


def ending(times: Tensor, strength: float) -> Tensor:
    """The last `strength` of the intervals, in (0, 1]: rounded, at least one."""
    return times[-1 - max(1, round(strength * (len(times) - 1))) :]


def with_restarts(
    times: Tensor,
    schedule: Schedule,
    *,
    low: float,
    high: float,
    inner: int,
    repeats: int,
    rho: float,
) -> Tensor:
    """The times with `repeats` ways up to `high` and down again in `inner` intervals.

    They stand where sigma / alpha, below `high`, comes nearest to `low` (Xu et al.,
    arXiv:2306.14878, algorithm 1); a UserError if the grid begins below `high`.
    """
    _, sigma = schedule(times)
    ratios = sigma / schedule(times)[0]
    if ratios[0] < high:
        raise UserError(
            f"sampler.high={high} is noisier than the first of the grid's levels, "
            f"sigma / alpha = {ratios[0]:.3g}: lower it"
        )
    between = ratios[1:-1]
    below = between < high
    if not bool(below.any()):
        raise UserError(
            f"no level of the grid but the last lies below sampler.high={high}: take more "
            "steps, or a higher one"
        )
    place = 1 + int((between - low).abs().where(below, torch.inf).argmin())
    down = karras(ratios[place].item(), high, rho, inner + 1, schedule)
    down[-1] = times[place]
    return torch.cat([times[: place + 1], down.repeat(repeats), times[place + 1 :]])


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
