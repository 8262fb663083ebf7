"""Samplers of first order: Euler, DDIM, and the ancestral ones."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from dmtool.denoise import eps_from_x0
from dmtool.samplers.base import Bound, Level, Noise, Step, intervals
from dmtool.samplers.rising import renoising


def euler(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise) -> Iterator[Step]:
    """Euler's method on dx = x_0 d(alpha) + eps d(sigma); equals DDIM with eta = 0."""
    return ddim(denoiser, x, times, noise=noise, eta=0.0)


def euler_ancestral(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise) -> Iterator[Step]:
    """Euler's method down to less noise than wanted, and noise up to it.

    In sigma / alpha, r to s, that is down to s^2 / r and up by s sqrt(1 - (s / r)^2); equals DDIM
    with eta = 1.
    """
    return ddim(denoiser, x, times, noise=noise, eta=1.0)


def ddim(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise, eta: float) -> Iterator[Step]:
    """DDIM (Song et al., arXiv:2010.02502, eq. 12 and 16), for any schedule.

    Times may rise: with eta = 0 the probability flow is followed upwards (inversion), otherwise
    the forward process adds noise.
    """
    run = _ddim if eta == 0 else renoising(_ddim)
    return run(denoiser, x, times, noise=noise, eta=eta)


def _ddim(denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise, eta: float) -> Iterator[Step]:
    for a, b in intervals(times, denoiser.schedule):
        x_0 = denoiser(x, a.t)
        std = eta * _added(a, b).sqrt() * b.sigma / a.sigma
        eps = eps_from_x0(x, x_0, a.alpha, a.sigma)
        x = b.alpha * x_0 + (b.sigma**2 - std**2).clamp(min=0).sqrt() * eps
        if std > 0:
            x = x + std * noise(x)
        yield Step(b.t.item(), x, x_0)


@renoising
def ddpm(
    denoiser: Bound, x: Tensor, times: Tensor, *, noise: Noise, variance: str
) -> Iterator[Step]:
    """Ancestral sampling (Ho et al., arXiv:2006.11239, eq. 7 and algorithm 2).

    `variance`: small is the posterior's beta-tilde, large is beta. Where times rise, the forward
    process adds noise.
    """
    for a, b in intervals(times, denoiser.schedule):
        x_0 = denoiser(x, a.t)
        added, ratio = _added(a, b), a.alpha / b.alpha
        x = (ratio * b.sigma**2 * x + b.alpha * added * x_0) / a.sigma**2
        if b.sigma > 0:
            std = added.sqrt() if variance == "large" else added.sqrt() * b.sigma / a.sigma
            x = x + std * noise(x)
        yield Step(b.t.item(), x, x_0)


def _added(a: Level, b: Level) -> Tensor:
    """The variance of q(x_a | x_b), where a is the noisier; 0 where b is."""
    return (a.sigma**2 - (a.alpha / b.alpha * b.sigma) ** 2).clamp(min=0)
