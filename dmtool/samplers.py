"""Samplers: generators over (denoiser, x, times, *, noise), each a few lines of its paper.

The denoiser has its condition bound beforehand: (x_t, t) -> x_0. `times` are explicit, [N + 1],
so N intervals; `noise(x)` draws standard normal noise of x's shape. Each step yields a `Step`.
All formulas hold for any schedule (alpha, sigma), variance preserving or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.denoise import Denoise, eps_from_x0
from dmtool.noise import Schedule, initial_std, log_snr
from dmtool.rng import generator
from dmtool.schemas import Sampler

Noise = Callable[[Tensor], Tensor]

Key = tuple[int, int]
"""(seed, i): all that picture i of a prompt is drawn from."""


class Step(NamedTuple):
    """The state after a step: its time, x_t, and the estimate of x_0 that led there."""

    t: float
    x: Tensor
    x_0: Tensor


@dataclass
class Bound:
    """A denoiser with its condition: what samplers call. Counts its calls."""

    denoiser: Denoise
    cond: Cond
    calls: int = 0

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        return self.denoiser(x_t, t.expand(len(x_t)), self.cond)


class Sample(Protocol):
    """A sampler with its own settings bound."""

    def __call__(
        self, denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise
    ) -> Iterator[Step]: ...


def build(config: Sampler) -> Sample:
    """The sampler that a config names."""
    match config.kind:
        case "ddpm":
            return partial(ddpm, variance=config.variance)
        case "ddim":
            return partial(ddim, eta=config.eta)
        case "euler":
            return euler
        case "heun":
            return heun
        case "dpmpp_2m":
            return dpmpp_2m


def calls(config: Sampler) -> int:
    """The number of denoiser calls for a picture."""
    return 2 * config.steps - 1 if config.kind == "heun" else config.steps


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

    Each picture's noise is drawn from its key and `purpose` alone. The first state's estimate is
    the mean of whitened data, 0: the denoiser has not been asked yet.
    """
    draw = PictureNoise([(seed, purpose, i) for seed, i in keys])
    start = draw(torch.zeros(len(keys), *shape, device=device))
    start = start * initial_std(denoiser.schedule)
    times = grid(config.grid, config.steps, denoiser.schedule)
    yield Step(1.0, start, torch.zeros_like(start))
    yield from build(config)(Bound(denoiser, cond), start, times, noise=draw)


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


def grid(kind: str, steps: int, schedule: Schedule) -> Tensor:
    """`steps` intervals from t = 1 down to t = 0 (sigma = 0), float64 [steps + 1].

    uniform: equal intervals of t. log_snr: equal intervals of log-SNR between t = 0.999 and 0.001,
    with the two ends put in their places.
    """
    uniform = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    if kind == "uniform":
        return uniform
    if kind == "log_snr":
        ends = torch.tensor([0.999, 0.001], dtype=torch.float64)
        high, low = log_snr(*schedule(ends)).tolist()
        inner = schedule.time(torch.linspace(high, low, steps + 1, dtype=torch.float64))
        return torch.cat([uniform[:1], inner[1:-1], uniform[-1:]])
    raise KeyError(kind)


def euler(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise) -> Iterator[Step]:
    """Euler's method on dx = x_0 d(alpha) + eps d(sigma); equals DDIM with eta = 0."""
    return ddim(denoiser, x, times, noise=noise, eta=0.0)


def ddim(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise, eta: float) -> Iterator[Step]:
    """DDIM (Song et al., arXiv:2010.02502, eq. 12 and 16), for any schedule."""
    for t, s in _intervals(times):
        x_0 = denoiser(x, t)
        (alpha, sigma), (alpha_s, sigma_s) = denoiser.schedule(t), denoiser.schedule(s)
        std = eta * _posterior_std(alpha, sigma, alpha_s, sigma_s)
        eps = eps_from_x0(x, x_0, alpha, sigma)
        x = alpha_s * x_0 + (sigma_s**2 - std**2).clamp(min=0).sqrt() * eps
        if std > 0:
            x = x + std * noise(x)
        yield Step(s.item(), x, x_0)


def ddpm(
    denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise, variance: str
) -> Iterator[Step]:
    """Ancestral sampling (Ho et al., arXiv:2006.11239, eq. 7 and algorithm 2).

    `variance`: small is the posterior's beta-tilde, large is beta.
    """
    for t, s in _intervals(times):
        x_0 = denoiser(x, t)
        (alpha, sigma), (alpha_s, sigma_s) = denoiser.schedule(t), denoiser.schedule(s)
        ratio = alpha / alpha_s
        beta = sigma**2 - ratio**2 * sigma_s**2
        x = (ratio * sigma_s**2 * x + alpha_s * beta * x_0) / sigma**2
        if sigma_s > 0:
            std = beta.sqrt() if variance == "large" else beta.sqrt() * sigma_s / sigma
            x = x + std * noise(x)
        yield Step(s.item(), x, x_0)


def heun(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise) -> Iterator[Step]:
    """The trapezoidal rule on dx = x_0 d(alpha) + eps d(sigma); 2 N - 1 calls.

    With alpha = 1 it is Karras' second-order sampler (arXiv:2206.00364, algorithm 1); in this
    form it is finite at alpha = 0 as well. The last step, to sigma = 0, is Euler's.
    """
    for t, s in _intervals(times):
        x_0 = denoiser(x, t)
        (alpha, sigma), (alpha_s, sigma_s) = denoiser.schedule(t), denoiser.schedule(s)
        eps = eps_from_x0(x, x_0, alpha, sigma)
        following = alpha_s * x_0 + sigma_s * eps
        if sigma_s > 0:
            x_0_s = denoiser(following, s)
            eps_s = eps_from_x0(following, x_0_s, alpha_s, sigma_s)
            slope_x, slope_eps = (x_0 + x_0_s) / 2, (eps + eps_s) / 2
            following = x + (alpha_s - alpha) * slope_x + (sigma_s - sigma) * slope_eps
        x = following
        yield Step(s.item(), x, x_0)


def dpmpp_2m(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al., arXiv:2211.01095, algorithm 2), first order to sigma = 0."""
    previous: tuple[Tensor, Tensor] | None = None  # the last x_0 and its step in half log-SNR
    for t, s in _intervals(times):
        x_0 = denoiser(x, t)
        (alpha, sigma), (alpha_s, sigma_s) = denoiser.schedule(t), denoiser.schedule(s)
        h = (log_snr(alpha_s, sigma_s) - log_snr(alpha, sigma)) / 2
        data = x_0
        if previous is not None and sigma_s > 0:
            last, h_last = previous
            data = x_0 + h / (2 * h_last) * (x_0 - last)
        shrink = sigma_s / sigma
        x = shrink * x + (alpha_s - shrink * alpha) * data
        previous = x_0, h
        yield Step(s.item(), x, x_0)


def _intervals(times: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (from, to) of times, on the CPU in float64: coefficients cost no device sync."""
    yield from zip(times[:-1].double().cpu(), times[1:].double().cpu(), strict=True)


def _posterior_std(alpha: Tensor, sigma: Tensor, alpha_s: Tensor, sigma_s: Tensor) -> Tensor:
    """The standard deviation of q(x_s | x_t, x_0)."""
    beta = sigma**2 - (alpha / alpha_s) ** 2 * sigma_s**2
    return beta.clamp(min=0).sqrt() * sigma_s / sigma
