"""Samplers that draw noise, on Gaussian data: the exact mean and variance of what they make."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from gaussian import MEAN, STD, Between, Gaussian, config, grid_config, moments

from dmtool.cond import Cond
from dmtool.noise import SCHEDULES, schedule
from dmtool.samplers import Bound, build, ddpm, grid, last, times

STOCHASTIC = {
    "small": ("ddpm",),
    "large": ("ddpm", "sampler.variance=large"),
    "half": ("ddim", "sampler.eta=0.5"),
    "ancestral": ("euler_ancestral",),
    "edm": ("edm", "sampler.s_noise=1", "sampler.s_churn=20"),
    "sde": ("dpmpp_2m_sde",),
}


def made(name, kind, steps):
    """The errors of the mean and of the deviation with so many steps."""
    if name == "restart":
        words = (f"sampler.steps={steps}", f"sampler.inner={steps // 4}", "sampler.repeats=3")
        chosen = config("restart", *words, "sampler.high=2", "sampler/grid=log_snr")
        visited = times(chosen, schedule(kind))
    else:
        chosen = config(*STOCHASTIC[name])
        visited = grid(grid_config("log_snr"), steps, schedule(kind))
    mean, std = moments(build(chosen), Gaussian(kind), visited)
    return abs(mean - MEAN), abs(std - STD)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("name", [*STOCHASTIC, "restart"])
def test_the_mean_and_deviation_of_the_data_are_reached(name, kind):
    """The mean is kept at any number of steps; the deviation's error falls as they grow."""
    (mean, few), (_, many) = made(name, kind, 40), made(name, kind, 160)
    assert mean < 1e-9 and many < 0.025
    assert many < few / 3 or many < 1e-3


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_one_ancestral_step_is_the_posterior(kind, variance):
    """Against the Gaussian algebra of q(x_s | x_t, x_0), by precisions instead of products."""
    denoiser, t, s = Gaussian(kind), 0.7, 0.6
    pair = torch.tensor([t, s], dtype=torch.float64)
    (alpha, alpha_s), (sigma, sigma_s) = denoiser.schedule(pair)
    x = torch.full((2, 1), 0.4, dtype=torch.float64)
    x_0 = denoiser(x, pair[:1].expand(2))
    ratio = alpha / alpha_s
    added = sigma**2 - (ratio * sigma_s) ** 2  # of x_t given x_s
    precision = 1 / sigma_s**2 + ratio**2 / added
    mean = (alpha_s * x_0 / sigma_s**2 + ratio * x / added) / precision
    std = added.sqrt() if variance == "large" else precision**-0.5
    found = last(ddpm(Bound(denoiser, Cond()), x, pair, noise=torch.ones_like, variance=variance))
    torch.testing.assert_close(found, mean + std, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fraction", [-0.1, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_learned_variance_follows_the_affine_recursion(kind, fraction):
    """By numbers, with the posterior by precisions; any steps, so the variance hangs on both ends
    of each."""
    visited = torch.tensor([0.95, 0.8, 0.5, 0.45, 0.1, 0.0], dtype=torch.float64)
    denoiser = Between(kind, fraction)
    levels = list(zip(*(each.tolist() for each in denoiser.schedule(visited)), strict=True))
    alpha, sigma = levels[0]
    mean, variance = alpha * MEAN, alpha**2 * STD**2 + sigma**2
    for (a, s), (a_b, s_b) in pairwise(levels):
        gain = a * STD**2 / (a**2 * STD**2 + s**2)
        added = s**2 - (a / a_b * s_b) ** 2
        small = 1 / (1 / s_b**2 + (a / a_b) ** 2 / added) if s_b else 0.0
        own = small ** (1 - fraction) * added**fraction if s_b else 0.0
        keep = small * a / a_b / added
        pull = a_b * small / s_b**2 if s_b else 1.0
        mean = keep * mean + pull * (MEAN + gain * (mean - a * MEAN))
        variance = (keep + pull * gain) ** 2 * variance + own
    found = moments(partial(ddpm, variance="learned"), denoiser, visited)
    assert found == pytest.approx((mean, math.sqrt(variance)), rel=1e-9)
