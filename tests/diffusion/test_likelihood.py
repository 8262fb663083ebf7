"""The variational bound and the flow's likelihood, on Gaussian data, whose values are known."""

import math
from itertools import pairwise

import pytest
import torch
from exact import Correlated
from scipy.stats import norm
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from dmtool.cond import Cond
from dmtool.config.sampling import LogSnrGrid, UniformGrid
from dmtool.diffusion.denoise import Estimate, Estimating, expand
from dmtool.diffusion.likelihood import flow_likelihood, variational_bound
from dmtool.diffusion.likelihood.normal import discretised, divergence
from dmtool.diffusion.noise import posterior, schedule
from dmtool.diffusion.sampling import grid

MEAN, STD = 0.3, 0.5
SCHEDULES = {
    "flow": {"shift": 2.0},
    "cosine": {},
    "sigmoid": {"start": -3.0, "end": 3.0, "tau": 1.0},
    "scaled_linear": {},
    "vp_sde": {"beta_min": 0.1, "beta_max": 20.0},
    "edm": {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0},
}
EVEN_TIME = UniformGrid(kind="uniform", shift=1.0)
everything = pytest.mark.parametrize("kind", SCHEDULES)
BIT = math.log(2)


class Gaussian(Estimating):
    """E[x_0 | x_t] of data normal(MEAN, STD) in each value, and a variance's fraction."""

    def __init__(self, kind, fraction=None):
        self.schedule, self.fraction = schedule(kind, **SCHEDULES[kind]), fraction

    def estimate(self, x_t, t, cond):
        alpha, sigma = (expand(each, x_t) for each in self.schedule(t))
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        fraction = None if self.fraction is None else torch.full_like(x_t, self.fraction)
        return Estimate(MEAN + gain * (x_t - alpha * MEAN), fraction)


def data(*shape):
    numbers = torch.Generator().manual_seed(0)
    return MEAN + STD * torch.randn(shape, generator=numbers, dtype=torch.float64)


def draw():
    numbers = torch.Generator().manual_seed(1)
    return lambda x: torch.randn(x.shape, generator=numbers, dtype=x.dtype)


def bound(denoiser, x_0, steps, variance, bins=None, even=EVEN_TIME):
    times = grid(even, steps, denoiser.schedule)
    return variational_bound(
        denoiser, x_0, Cond(), times, variance=variance, noise=draw(), bins=bins
    )


def expected(made, steps, variance):
    """Prior, steps and decoder in bits: the mean over data and noise, by divergences of normals.

    That of two normals whose means differ by a normal error is that with the error's square added
    to the first one's variance, but for the logarithm.
    """
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    alphas, sigmas = (each.tolist() for each in made(times))
    total = math.hypot(alphas[0], sigmas[0])
    square = sigmas[0] ** 2 + alphas[0] ** 2 * (STD**2 + MEAN**2)
    prior = (square / total**2 - 1 - 2 * math.log(sigmas[0] / total)) / 2
    terms = []
    for (a, s), (a_b, s_b) in pairwise(zip(alphas, sigmas, strict=True)):
        left = 1 / (1 / STD**2 + (a / s) ** 2)  # of x_0 given x_a
        added = s**2 - (a / a_b * s_b) ** 2
        if s_b == 0:
            terms.append((math.log(2 * math.pi * added) + left / added) / 2)
            continue
        small = 1 / (1 / s_b**2 + (a / a_b) ** 2 / added)
        pull = a_b * small / s_b**2
        var = {"small": small, "large": added}[variance]
        terms.append((math.log(var / small) + (small + pull**2 * left) / var - 1) / 2)
    return prior / BIT, torch.tensor(terms[:-1]) / BIT, terms[-1] / BIT


@everything
@pytest.mark.parametrize("variance", ["small", "large"])
def test_at_finite_steps_every_term_is_its_closed_form(kind, variance):
    x_0, steps = data(4, 20_000), 6
    found = bound(Gaussian(kind), x_0, steps, variance)
    prior, terms, decoder = expected(Gaussian(kind).schedule, steps, variance)
    assert found.prior.mean().item() == pytest.approx(prior, rel=0.02, abs=1e-9)
    assert found.decoder.mean().item() == pytest.approx(decoder, abs=0.01)
    torch.testing.assert_close(found.steps.mean(0), terms.double(), rtol=0.02, atol=0.002)


@everything
@pytest.mark.parametrize("variance", ["small", "large"])
def test_with_many_steps_the_bound_is_the_datas_own_likelihood(kind, variance):
    """What it lies above falls as 1 / steps. They are of equal ratios: equal intervals of time end
    in steps that are large at any number of them."""
    x_0 = data(1, 5_000)
    exact = -Normal(MEAN, STD).log_prob(x_0).mean() / BIT

    def excess(steps):
        found = bound(Gaussian(kind), x_0, steps, variance, even=LogSnrGrid(kind="log_snr"))
        return (found.prior + found.steps.sum(1) + found.decoder - exact).item()

    few, many = excess(200), excess(1600)
    assert abs(many) < max(few / 6, 0.015) and few > 0


@everything
def test_a_fraction_of_0_is_the_small_variance_and_of_1_the_large_one(kind):
    x_0 = data(2, 30)
    for fraction, variance in [(0.0, "small"), (1.0, "large")]:
        learned = bound(Gaussian(kind, fraction), x_0, 5, "learned")
        torch.testing.assert_close(learned, bound(Gaussian(kind), x_0, 5, variance))
    learned = bound(Gaussian(kind, 0.0), x_0, 5, "learned", 2 / 255)
    torch.testing.assert_close(learned, bound(Gaussian(kind), x_0, 5, "small", 2 / 255))


def test_pixels_are_told_as_published():
    """Ho's first variance, of small and large alike, is the posterior's of the second step; the
    probability of the bins is scipy's."""
    pixels = (data(2, 500).clamp(-1, 1) * 127.5 + 127.5).round()
    x_0, draws = pixels / 127.5 - 1, draw()
    made = Gaussian("scaled_linear")
    alpha, sigma = made.schedule(torch.tensor([0.5, 0.25], dtype=torch.float64))
    for _ in range(3):
        draws(x_0)
    x_t = alpha[1] * x_0 + sigma[1] * draws(x_0)
    mean = made(x_t, torch.tensor([0.25, 0.25], dtype=torch.float64), Cond())
    second = 1 / (1 / sigma[1] ** 2 + (alpha[0] / alpha[1]) ** 2
                  / (sigma[0] ** 2 - (alpha[0] / alpha[1] * sigma[1]) ** 2))  # fmt: skip
    upper, lower = (norm.cdf(x_0 + d, mean, second.sqrt()) for d in (1 / 255, -1 / 255))
    upper[pixels == 255], lower[pixels == 0] = 1, 0
    expected = -torch.tensor(upper - lower).log2().mean(1)
    for variance in ("small", "large"):
        found = bound(made, x_0, 4, variance, 2 / 255).decoder
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_a_term_is_the_divergence_of_two_normals():
    """In torch's own words; the means differ by what the posterior makes of the error."""
    made = schedule("cosine")
    step = posterior(*(made(torch.tensor(t, dtype=torch.float64)) for t in (0.6, 0.5)))
    x_t, x_0, error = torch.randn(3, 50, dtype=torch.float64)
    log_var = step.between(torch.rand(50, dtype=torch.float64))
    true, model = (step.keep * x_t + step.pull * x for x in (x_0, x_0 - error))
    expected = kl_divergence(Normal(true, step.small.sqrt()), Normal(model, (log_var / 2).exp()))
    torch.testing.assert_close(divergence(step, error, log_var), expected)


@pytest.mark.parametrize("std", [0.003, 0.05, 2.0])
def test_the_decoders_256_probabilities_are_those_of_scipy_and_sum_to_one(std):
    values = torch.linspace(-1, 1, 256, dtype=torch.float64)
    for mean in (-1.2, -1.0, 0.013, 0.999):
        width = values[1] - values[0]
        nats = discretised(values, torch.tensor(mean), torch.tensor(std).log() * 2, width.item())
        edges = (values[:-1] + width / 2).numpy()
        cumulated = norm.cdf(edges, mean, std)
        shares = torch.tensor([cumulated[0], *(cumulated[1:] - cumulated[:-1]), 1 - cumulated[-1]])
        torch.testing.assert_close((-nats).exp(), shares.double(), rtol=1e-4, atol=1e-9)
        assert (-nats).exp().sum().item() == pytest.approx(1) and nats.isfinite().all()


@everything
def test_the_flows_likelihood_is_the_datas(kind):
    """To the solver's error, where the end is taken for standard normal as sampling does; to the
    data's own value where the schedule ends in pure noise."""
    x_0, made = data(5, 3, 4), Gaussian(kind)
    path = {"steps": 60, "low": 1e-3, "high": 1e4}
    found = flow_likelihood(made, x_0, Cond(), probes=[torch.ones_like(x_0)], **path)

    def state(ratio):
        c, s = 1 / math.hypot(1, ratio), ratio / math.hypot(1, ratio)
        return c * MEAN, math.hypot(c * STD, s)

    alpha, sigma = made.schedule(torch.ones((), dtype=torch.float64))
    (mean, std), (end_mean, end_std) = state(1e-3), state(min(1e4, (sigma / alpha).item()))
    reached = Normal(mean - std * end_mean / end_std, std / end_std)
    exact = -reached.log_prob(x_0).flatten(1).mean(1) / BIT
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-5)
    own = -Normal(MEAN, STD).log_prob(x_0).flatten(1).mean(1) / BIT
    torch.testing.assert_close(found, own, rtol=0, atol=2e-2 if sigma / alpha < 1e4 else 1e-4)


def test_the_divergence_is_hutchinsons():
    """sqrt(d) unit vectors give the trace, and random signs are right on average."""
    root = torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64) / 2
    covariance = root @ root.T + 0.1 * torch.eye(4)
    truth = MultivariateNormal(torch.zeros(4).double(), covariance)
    x_0 = truth.sample((2000,))
    path = {"steps": 30, "low": 1e-3, "high": 1e4}
    made = Correlated("flow", torch.zeros(4).double(), covariance)
    exact = -truth.log_prob(x_0) / 4 / BIT
    units = [2 * unit.expand(2000, 4) for unit in torch.eye(4, dtype=torch.float64)]
    found = flow_likelihood(made, x_0, Cond(), probes=units, **path)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-3)
    signs = draw()(x_0).sign()
    rough = flow_likelihood(made, x_0, Cond(), probes=[signs], **path) - exact
    assert rough.std() > 0.01 and abs(rough.mean()) < 4 * rough.std() / len(x_0) ** 0.5
