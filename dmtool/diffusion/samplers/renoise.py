"""Times that rise: the forward process between two runs of a sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps

import torch
from torch import Tensor

from dmtool.diffusion.samplers.base import Bound, Noise, Step, level, renoised

Sampler = Callable[..., Iterator[Step]]


def renoising(sampler: Sampler) -> Sampler:
    """The sampler, for times that may rise.

    Where they fall, the sampler runs, each time anew: without what it remembers. Where they rise,
    x_t is a draw of the forward process, without a call of the denoiser.
    """

    @wraps(sampler)
    def sample(
        denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise, **settings: object
    ) -> Iterator[Step]:
        x_0 = torch.zeros_like(x)  # of which a rise at the very start knows nothing yet
        for run in _runs(times):
            if run[0] < run[-1]:
                a, b = (level(t, denoiser.schedule) for t in run)
                x = renoised(x, a, b, noise)
                yield Step(b.t.item(), x, x_0)
                continue
            for step in sampler(denoiser, x, run, noise=noise, **settings):
                yield step
                _, x, x_0 = step

    return sample


def _runs(times: Tensor) -> Iterator[Tensor]:
    """Falling stretches of the times, and single rising intervals; each begins where the last
    ended."""
    times = times.double().cpu()
    start = 0
    for i in range(1, len(times)):
        if times[i] > times[i - 1]:
            if i - 1 > start:
                yield times[start:i]
            yield times[i - 1 : i + 1]
            start = i
    if start < len(times) - 1:
        yield times[start:]
