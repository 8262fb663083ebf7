"""DDPM's variational bound on -log p(x_0), term by term, in bits per dimension.

-log p(x_0) <= L_T + sum of L_b + L_0 (Ho et al., arXiv:2006.11239, eq. 5): how much of the picture
the first state still shows, how far each step is from the posterior, and what it costs to tell the
picture after the last step. It holds for any schedule: every step has a Gaussian posterior.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoise, Estimate, estimate, expand, log_variance
from dmtool.diffusion.likelihood.normal import Noise, density, discretised, divergence
from dmtool.diffusion.noise import Posterior, Schedule, T, posterior


class Bound(NamedTuple):
    """The terms of each picture: prior L_T [B], steps [B, N - 1], the noisiest first, and the
    decoder's L_0 [B]. Their sum is the bound."""

    prior: Tensor
    steps: Tensor
    decoder: Tensor


def variational_bound(
    denoiser: Denoise,
    x_0: Tensor,
    cond: Cond,
    times: Tensor,
    *,
    variance: str,
    noise: Noise,
    bins: float | None,
) -> Bound:
    """The bound for x_0 [B, ...], by one draw of each x_t: N calls of the denoiser.

    Args:
        times: falling [N + 1], the last is 0, the clean picture.
        variance: the model's, of each step: small, large or learned.
        noise: draws standard normal noise of x_0's shape.
        bins: the distance between the values that x_0 can have in [-1, 1]: L_0 is then of
            probabilities. None: x_0 is continuous and L_0 is of densities.
    """
    times = times.double().cpu()
    levels = list(zip(*denoiser.schedule(times), strict=True))
    steps = [posterior(a, b) for a, b in pairwise(levels)]
    kinds = [variance] * (len(steps) - 1) + ["learned" if variance == "learned" else "small"]
    steps[-1] = _decoder(steps, bins)
    terms: list[Tensor] = []
    for t, (alpha, sigma), step, kind in zip(times, levels, steps, kinds, strict=False):
        x_t = alpha * x_0 + sigma * noise(x_0)
        x_0_hat, fraction = estimate(denoiser, x_t, t.expand(len(x_0)), cond)
        log_var = log_variance(kind, step, fraction)
        if step is steps[-1]:
            terms.append(_bits(_told(x_0, x_0_hat, log_var, bins)))
        else:
            terms.append(_bits(divergence(step, x_0 - x_0_hat, log_var)))
    found = torch.stack(terms, 1)
    return Bound(_bits(_prior(x_0, *levels[0])), found[:, :-1], found[:, -1])


def _decoder(steps: list[Posterior], bins: float | None) -> Posterior:
    """The last step with a small variance that is not 0: that of the step before, as published,
    where it must only hit a bin; beta, where it is a density."""
    last, before = steps[-1], steps[-2] if len(steps) > 1 else None
    return last._replace(small=before.small if before and bins else last.large)


def step_bound(
    schedule: Schedule, x_0: Tensor, t: Tensor, found: Estimate, bins: float | None
) -> Tensor:
    """The bound's term of the step from t [B] to t - 1 / T, [B], for training the variance.

    Its gradient leaves the estimate of x_0 alone. Below 2 / T the posterior has too little variance
    for a logarithm, and that of the step from 2 / T stands for it.
    """
    a, b = t.double(), (t.double() - 1 / T).clamp(min=0)
    step = posterior(schedule(a), schedule(b))
    ends = torch.tensor([2 / T, 1 / T], dtype=torch.float64)
    floor = posterior(schedule(ends[0]), schedule(ends[1])).small
    last = b == 0
    small = torch.where(last & (bins is None), step.large, step.small.maximum(floor))
    step = Posterior(*(expand(each, x_0) for each in step._replace(small=small)))
    log_var = log_variance("learned", step, found.fraction)
    x_0_hat = found.x_0.detach()
    told = _told(x_0, x_0_hat, log_var, bins)
    nats = torch.where(expand(last, x_0) > 0, told, divergence(step, x_0 - x_0_hat, log_var))
    return _bits(nats)


def _prior(x_0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """KL of q(x_T | x_0) from the state that sampling begins with, of whitened data's deviation."""
    variance = alpha**2 + sigma**2
    apart = (sigma**2 + (alpha * x_0) ** 2) / variance
    return (apart - 1 - 2 * (sigma.log() - variance.log() / 2)) / 2


def _told(x_0: Tensor, mean: Tensor, log_var: Tensor, bins: float | None) -> Tensor:
    return density(x_0 - mean, log_var) if bins is None else discretised(x_0, mean, log_var, bins)


def _bits(nats: Tensor) -> Tensor:
    """Nats [B, ...] as bits per dimension [B]."""
    return nats.flatten(1).mean(1) / math.log(2)
