"""UniPC: a multi-step predictor, corrected by the next step's estimate at no further call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dmtool.diffusion.samplers.base import Bound, Level, Noise, Step, drawn_to, intervals
from dmtool.diffusion.samplers.renoise import renoising

Support = tuple[Tensor, Tensor]
"""The half log-SNR at which x_0 was estimated, and the estimate."""


@renoising
def unipc(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise, order: int) -> Iterator[Step]:
    """UniPC-`order` with B(h) = e^h - 1 (Zhao et al., arXiv:2302.04867, algorithms 5 and 6).

    The last state is the predictor's, as are all that are yielded; each is corrected once the
    denoiser has been asked there. Steps from alpha = 0 and to sigma = 0 are of first order.
    """
    older: deque[Support] = deque(maxlen=order - 1)
    start: tuple[Tensor, Tensor, Level] | None = None  # the last interval's x, x_0 and level
    for a, b in intervals(times, denoiser.schedule):
        x_0 = denoiser(x, a.t)
        if start is not None:
            x = _advanced(*start, a, [*older, (a.half_log_snr, x_0)])
            older.append((start[2].half_log_snr, start[1]))
        start = (x, x_0, a) if a.alpha > 0 else None
        x = _advanced(x, x_0, a, b, [*older] if b.sigma > 0 else [])
        yield Step(b.t.item(), x, x_0)


def _advanced(x: Tensor, x_0: Tensor, a: Level, b: Level, supports: Sequence[Support]) -> Tensor:
    """x at b, by the estimate at a and those of `supports`, before a or at b (eq. 3 and 9)."""
    data = x_0
    if supports:
        h = b.half_log_snr - a.half_log_snr
        places = torch.stack([(place - a.half_log_snr) / h for place, _ in supports])
        for weight, place, (_, other) in zip(_weights(places, h), places, supports, strict=True):
            data = data + weight / place * (other - x_0)
    return drawn_to(x, data, a, b)


def _weights(places: Tensor, h: Tensor) -> Tensor:
    """The weights of the differences at r = `places` [n], by the conditions of order n (eq. 5)."""
    n = len(places)
    if n == 1:
        return torch.full_like(places, 0.5)  # enough for order 2, as the paper has it
    first = torch.expm1(-h)
    phi, factorial, right = -first / h - 1, 1, []
    for k in range(1, n + 1):
        right.append(phi * factorial / first)
        factorial *= k + 1
        phi = -phi / h - 1 / factorial
    powers = places[None] ** torch.arange(n, dtype=places.dtype)[:, None]
    return torch.linalg.solve(powers, torch.stack(right))
