"""Samplers that draw noise, on Gaussian data: the exact mean and variance of what they make."""

import pytest
import torch
from gaussian import MEAN, STD, Gaussian, config, grid_config, moments

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
    mean, std = moments(build(chosen), kind, visited)
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
