"""From noise to pictures: a sampler over its times, with a seed for each picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoise
from dmtool.diffusion.samplers.base import Bound, Sample, Step, level
from dmtool.diffusion.samplers.draws import Source, picture_noise
from dmtool.diffusion.samplers.known import Known
from dmtool.diffusion.samplers.renoise import renoising


def states(
    denoiser: Denoise,
    cond: Cond,
    shape: tuple[int, ...],
    sources: Sequence[Source],
    sampler: Sample,
    times: Tensor,
    purpose: str,
    device: torch.device,
    given: Known | None = None,
) -> Iterator[Step]:
    """All states of a batch [B, *shape], on `device`, one picture a source, beginning with noise.

    Each picture's noise is drawn from its source and `purpose` alone. The first state has the
    standard deviation of whitened data at its time, or is a `given` picture with noise. Its
    estimate is their mean, 0: the denoiser has not been asked yet.
    """
    draw = picture_noise(sources, purpose)
    noise = draw(torch.zeros(len(sources), *shape, device=device))
    start = noise * torch.hypot(*denoiser.schedule(times[0]))
    if given is not None:
        start = given.begun(noise, start, level(times[0], denoiser.schedule))
        denoiser, sampler = given.kept(denoiser), renoising(sampler)
    yield Step(times[0].item(), start, torch.zeros_like(start))
    yield from sampler(Bound(denoiser, cond), start, times, noise=draw)


def last(steps: Iterable[Step]) -> Tensor:
    """The state after the last step; no other is kept."""
    return deque(steps, maxlen=1)[0].x
