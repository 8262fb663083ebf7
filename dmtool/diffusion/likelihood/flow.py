"""The likelihood by the probability flow (Song et al., arXiv:2011.13456, section 4.3).

With n = hypot(alpha, sigma), z = x_t / n, and l = ln(sigma / alpha), the flow of any schedule is

    dz/dl = c (c z - x_0_hat),  c = alpha / n,

which is finite at both ends, and ln p(z) falls along it by its divergence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.device import widest
from dmtool.diffusion.denoise import Denoise

STAGES = 4
"""Calls of a Runge-Kutta step."""

State = tuple[Tensor, Tensor]
"""z [B, ...], and what the logarithm of its density has lost on the way, [B], `widest`."""


def calls(steps: int) -> int:
    """Calls of the denoiser; each is differentiated once for each probe."""
    return STAGES * steps


def flow_likelihood(
    denoiser: Denoise,
    x_0: Tensor,
    cond: Cond,
    *,
    steps: int,
    low: float,
    high: float,
    probes: Sequence[Tensor],
) -> Tensor:
    """-log2 of the density at x_0 [B, ...], in bits per dimension, [B] in the `widest` type.

    The classical Runge-Kutta method in `steps` equal intervals of ln(sigma / alpha), from `low`,
    where the data stand for z (as Song's t = 1e-5), to `high`, where z is standard normal; both
    within the schedule. `probes`, of x_0's shape, mean 0 and covariance 1, estimate the divergence
    (Hutchinson), the same ones at every step.
    """
    rate = Rate(denoiser, cond, probes)
    first, last = (_within(denoiser, end) for end in (low, high))
    h = (last - first) / steps
    state: State = x_0, torch.zeros(len(x_0), dtype=widest(x_0.device), device=x_0.device)
    for i in range(steps):
        state = _step(rate, state, first + i * h, h)
    z, lost = state
    normal = (z.to(lost) ** 2).flatten(1).sum(1) / 2 + z[0].numel() * math.log(2 * math.pi) / 2
    return (normal - lost) / (z[0].numel() * math.log(2))


@dataclass(frozen=True)
class Rate:
    """The derivative of a state by l."""

    denoiser: Denoise
    cond: Cond
    probes: Sequence[Tensor]

    def __call__(self, z: Tensor, place: float) -> State:
        t = self.denoiser.schedule.time(torch.tensor(-2 * place, dtype=torch.float64))
        alpha, sigma = self.denoiser.schedule(t)
        n = torch.hypot(alpha, sigma)
        c = alpha / n
        x_0, trace = self._estimate(n * z, t)
        return c * (c * z - x_0), c * (c * z[0].numel() - n * trace)

    def _estimate(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The estimate of x_0, and the mean over the probes of e (d x_0 / d x_t) e, [B]."""
        with torch.enable_grad():
            x_t = x_t.detach().requires_grad_()
            x_0 = self.denoiser(x_t, t.expand(len(x_t)), self.cond)
            traces = []
            for i, probe in enumerate(self.probes):
                more = i < len(self.probes) - 1
                (row,) = torch.autograd.grad(x_0, x_t, probe, retain_graph=more)
                trace = (row * probe).to(widest(row.device))
                traces.append(trace.flatten(1).sum(1))
        return x_0.detach(), torch.stack(traces).mean(0)


def _step(rate: Rate, state: State, place: float, h: float) -> State:
    """A step of the classical Runge-Kutta method."""
    z, lost = state
    first = rate(z, place)
    second = rate(z + h / 2 * first[0], place + h / 2)
    third = rate(z + h / 2 * second[0], place + h / 2)
    fourth = rate(z + h * third[0], place + h)
    slopes = zip(first, second, third, fourth, strict=True)
    dz, dp = (h / 6 * (a + 2 * b + 2 * c + d) for a, b, c, d in slopes)
    return z + dz, lost + dp


def _within(denoiser: Denoise, ratio: float) -> float:
    """ln(sigma / alpha), as far as the schedule goes."""
    alpha, sigma = denoiser.schedule(torch.ones((), dtype=torch.float64))
    return math.log(min(ratio, (sigma / alpha).item()))
