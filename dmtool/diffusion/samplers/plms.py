"""The pseudo linear multi-step method."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dmtool.diffusion.denoise import eps_from_x0
from dmtool.diffusion.samplers.base import Bound, Noise, Step, intervals, moved, moves_by_ratio
from dmtool.diffusion.samplers.heun import heun_step
from dmtool.diffusion.samplers.renoise import renoising


@renoising
def plms(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise) -> Iterator[Step]:
    """PLMS (Liu et al., arXiv:2202.09778, eq. 12), begun by one step of Heun's; N + 1 calls.

    The estimates of up to four steps are averaged by Adams and Bashforth's weights over t, which
    for equal steps are those of the paper. Its variable is that of Heun's method; of second order,
    as the transfer over sigma / alpha is. The last step, to sigma = 0, is Euler's: the paper and
    diffusers extrapolate into it, which costs few steps most of their accuracy.
    """
    by_ratio = moves_by_ratio(denoiser.schedule)
    past: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=4)  # t, x_0, eps; the newest last
    for a, b in intervals(times, denoiser.schedule):
        if not past:
            following, x_0 = heun_step(denoiser, x, a, b)
        else:
            x_0 = denoiser(x, a.t)
        past.append((a.t, x_0, eps_from_x0(x, x_0, a.alpha, a.sigma)))
        if b.sigma == 0:
            following = b.alpha * x_0
        elif len(past) > 1:
            weights = adams([t for t, *_ in past], b.t)
            mean_x_0 = sum(w * each for w, (_, each, _) in zip(weights, past, strict=True))
            mean_eps = sum(w * each for w, (*_, each) in zip(weights, past, strict=True))
            following = moved(x, mean_x_0, mean_eps, a, b, by_ratio=by_ratio)
        x = following
        yield Step(b.t.item(), x, x_0)


def adams(times: Sequence[Tensor], end: Tensor) -> Tensor:
    """Weights of values at `times`, the newest last, for their mean from there to `end`.

    Exact for polynomials of a degree below their number; (-1, 3) / 2 for two in equal steps.
    """
    places = (torch.stack([*times]) - times[-1]) / (end - times[-1])
    powers = torch.arange(len(times), dtype=places.dtype)
    return torch.linalg.solve(places[None] ** powers[:, None], 1 / (powers + 1))
