"""Which sampler, on which steps, comes nearest to a many-step reference with the same noise."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from dmtool.config.guidance import Guidance
from dmtool.config.sampling import Sampler
from dmtool.config.tuning import TuneSampler
from dmtool.diffusion.sampling import times
from dmtool.measure.tune.bench import Bench, rmse
from dmtool.measure.tune.settings import explicit, label, listed
from dmtool.say import say

REACH = 0.5
"""The part of the way to its neighbour that a time goes in the first round; then half of it."""


def best_steps(
    config: TuneSampler, bench: Bench, guidance: Guidance, reference: Tensor
) -> tuple[Sampler, float]:
    """The sampler whose pictures are the nearest to the reference's [N, 3, H, W], and how near.

    All samplers and grids are looked at on a quarter of the pictures, the best of them on all, and
    the times of the best one are moved one by one.
    """
    schedule = bench.generator.schedule

    def error(sampler: Sampler, count: int) -> float:
        found = bench.first(count).pictures(sampler, guidance)
        return rmse(found, reference[:count])

    settings = listed(config, schedule)
    few = math.ceil(len(reference) / 4)
    settings = ranked(settings, lambda each: error(each, few))[: config.keep]
    settings = ranked(settings, lambda each: error(each, len(reference)))
    best = settings[0]

    def moved(to: Tensor) -> float:
        return error(explicit(best, to, schedule), len(reference))

    chosen = explicit(best, descend(times(best, schedule), moved, config.rounds), schedule)
    return min(((each, error(each, len(reference))) for each in (best, chosen)), key=lambda x: x[1])


def ranked(settings: list[Sampler], error: Callable[[Sampler], float]) -> list[Sampler]:
    """The samplers by rising error, which is printed."""
    found = {setting: error(setting) for setting in settings}
    order = sorted(settings, key=found.__getitem__)
    for setting in order[:3]:
        say(f"  {found[setting]:6.2f}  {label(setting)}")
    return order


def descend(times: Tensor, error: Callable[[Tensor], float], rounds: int) -> Tensor:
    """Times [N + 1] of a smaller error: each but the last is moved towards its neighbours in turn,
    and the others follow.

    A move that helps is kept; after each of the `rounds` moves are half as long. The first time's
    upper neighbour is t = 1.
    """
    best, least = times, error(times)
    for number in range(rounds):
        for i in range(len(times) - 1):
            for goal in (best[i - 1].item() if i else 1.0, best[i + 1].item()):
                to = best[i].item() + REACH / 2**number * (goal - best[i].item())
                tried = dragged(best, i, to)
                found = error(tried) if to != best[i] else least
                if found < least:
                    best, least = tried, found
                    break
    return best


def dragged(times: Tensor, i: int, to: float) -> Tensor:
    """Times [N + 1] of which number i is moved to `to`: those above keep their places in proportion
    between it and the first, those below between it and 0.

    Moving one time alone ends where two have come close to each other.
    """
    first, here = times[0], times[i]
    below = times * to / here
    if i == 0:
        return below
    above = first - (first - times) * (first - to) / (first - here)
    return above.where(times > here, below)
