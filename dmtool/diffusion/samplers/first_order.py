"""Samplers of first order: Euler, DDIM, and the ancestral ones."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from dmtool.diffusion.denoise import eps_from_x0, log_variance
from dmtool.diffusion.noise import posterior
from dmtool.diffusion.samplers.base import Bound, Noise, Step, intervals
from dmtool.diffusion.samplers.renoise import renoising


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
        std = eta * posterior(a[1:], b[1:]).small.sqrt()
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

    `variance`: small is the posterior's beta-tilde, large is beta, learned lies between them where
    the network says (UserError if it has not learned to). Where times rise, the forward process
    adds noise.
    """
    for a, b in intervals(times, denoiser.schedule):
        x_0, fraction = denoiser.estimate(x, a.t)
        step = posterior(a[1:], b[1:])
        x = step.keep * x + step.pull * x_0
        if b.sigma > 0:
            x = x + (log_variance(variance, step, fraction) / 2).exp() * noise(x)
        yield Step(b.t.item(), x, x_0)
