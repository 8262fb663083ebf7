"""Samplers that draw noise, on normal data of full covariance: exactly what they make of it."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from exact import Between, Correlated
from gaussian import config

from dmtool.cond import Cond
from dmtool.diffusion.noise import SCHEDULES, schedule
from dmtool.diffusion.samplers import Bound, last
from dmtool.diffusion.sampling import build, times

MEAN = torch.tensor([0.3, -0.7], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.30, -0.12], [-0.12, 0.10]], dtype=torch.float64)
BY_RATIO = ("ddpm", "scaled_linear")
CHURN = {"s_churn": 3, "s_tmin": 0.1, "s_tmax": 5, "s_noise": 1.01}


def moments(sampler, denoiser, start, visited):
    """The exact mean and covariance of what a sampler makes of `start`, a map from a standard
    normal.

    The last state is affine in that and in all noise: each row of a batch has one number of these
    at 1 and the others at 0, the last row has all at 0.
    """
    sources, width = 2 * len(visited), len(MEAN)
    unit = torch.eye(sources * width, dtype=torch.float64)
    unit = torch.cat([unit, torch.zeros_like(unit[:1])]).unflatten(1, (sources, width))
    drawn = iter(range(1, sources))
    steps = sampler(
        Bound(denoiser, Cond()), start(unit[:, 0]), visited, noise=lambda x: unit[:, next(drawn)]
    )
    x = last(steps)
    return x[-1], (x - x[-1]).T @ (x - x[-1])


# The recursion, in y = x / alpha over r = sigma / alpha. It is of (1, y, y_0) with y_0 the estimate
# of the step before; each Y below is y as a matrix that multiplies this.
ONE, NOW, BEFORE = np.split(np.eye(5), [1, 3])


def clean(y, r):
    covariance = COVARIANCE.numpy()
    gain = covariance @ np.linalg.inv(covariance + r**2 * np.eye(2))
    return gain @ y + (np.eye(2) - gain) @ np.outer(MEAN.numpy(), ONE)


def scale(kind, r):
    """alpha where sigma / alpha = r."""
    return 1 / (1 + r) if kind == "flow" else 1 / np.hypot(1, r)


def ancestral(r, s, kind, fraction):
    """The posterior of y_s by precisions (Ho et al. 2020); fraction 0: beta-tilde, 1: beta."""
    if s == 0:
        return clean(NOW, r), 0.0
    precision = 1 / s**2 + 1 / (r**2 - s**2)
    large = (scale(kind, r) / scale(kind, s)) ** 2 * (r**2 - s**2)
    y = (clean(NOW, r) / s**2 + NOW / (r**2 - s**2)) / precision
    return y, np.sqrt((1 / precision) ** (1 - fraction) * large**fraction)


def implicit(r, s, kind, eta):
    """Song et al. 2021, eq. 12 and 16, for alpha-bar = 1 / (1 + r^2)."""
    a, b = 1 / (1 + r**2), 1 / (1 + s**2)
    std = eta * np.sqrt((1 - b) / (1 - a)) * np.sqrt(1 - a / b)
    x, x_0 = np.sqrt(a) * NOW, clean(NOW, r)
    eps = (x - np.sqrt(a) * x_0) / np.sqrt(1 - a)
    return (np.sqrt(b) * x_0 + np.sqrt(1 - b - std**2) * eps) / np.sqrt(b), std / np.sqrt(b)


def euler_down(r, s, kind):
    """Euler's step down, and noise up (k-diffusion's get_ancestral_step)."""
    up = s * np.sqrt(1 - (s / r) ** 2)
    slope = (NOW - clean(NOW, r)) / r
    return NOW + (np.sqrt(s**2 - up**2) - r) * slope, up


def multistep(r, s, kind, eta, older):
    """SDE-DPM-Solver++(2M) (Lu et al. 2022), with k-diffusion's eta; `older`: the ratio before."""
    data = clean(NOW, r)
    if s == 0:
        return data, 0.0
    h = np.log(r / s)
    if older is not None:
        data = data + h / np.log(older / r) / 2 * (data - BEFORE)
    y = np.exp(-(1 + eta) * h) * NOW + (1 - np.exp(-(1 + eta) * h)) * data
    return y, s * np.sqrt(1 - np.exp(-2 * eta * h))


def trapezoid(r, s, kind):
    """Heun's step over sigma / alpha, or where alpha ends at 0 along (alpha, sigma)."""
    data = clean(NOW, r)
    slope = (NOW - data) / r
    y = NOW + (s - r) * slope
    if s == 0:
        return y, 0.0
    data_s = clean(y, s)
    slope_s = (y - data_s) / s
    if kind in BY_RATIO:
        return NOW + (s - r) * (slope + slope_s) / 2, 0.0
    a, b = scale(kind, r), scale(kind, s)
    moved = (b - a) * (data + data_s) / 2 + (b * s - a * r) * (slope + slope_s) / 2
    return (a * NOW + moved) / b, 0.0


def single(step, **settings):
    """A sampler's moves, each with the ratio at which it asks for an estimate."""

    def moves(ratios, kind):
        for r, s in pairwise(ratios):
            if s > r:
                yield r, (NOW, np.sqrt(s**2 - r**2))
            else:
                yield r, step(r, s, kind, **settings)

    return moves


def two_steps(ratios, kind, eta):
    for older, r, s in zip([None, *ratios], ratios, ratios[1:], strict=False):
        yield r, multistep(r, s, kind, eta, older)


def churned(ratios, kind):
    """Karras et al. 2022, algorithm 2."""
    gamma = min(CHURN["s_churn"] / (len(ratios) - 1), np.sqrt(2) - 1)
    for r, s in pairwise(ratios):
        if CHURN["s_tmin"] <= r <= CHURN["s_tmax"]:
            raised = (1 + gamma) * r
            yield r, (NOW, CHURN["s_noise"] * np.sqrt(raised**2 - r**2))
            r = raised
        yield r, trapezoid(r, s, kind)


def recursion(moves, ratios):
    """The mean and covariance of y after the moves, from pure noise of variance 1 + r^2."""
    second = np.diag([1.0, *2 * [1 + ratios[0] ** 2], 0, 0])
    for r, (y, std) in moves:
        step = np.concatenate([ONE, y, clean(NOW, r)])
        second = step @ second @ step.T + np.diag([0, std**2, std**2, 0, 0])
    mean = second[0, 1:3]
    return mean, second[1:3, 1:3] - np.outer(mean, mean)


SAMPLERS = {
    "ddpm": (("ddpm",), single(ancestral, fraction=0)),
    "ddpm_large": (("ddpm", "sampler.variance=large"), single(ancestral, fraction=1)),
    "ddpm_learned": (("ddpm", "sampler.variance=learned"), single(ancestral, fraction=0.3)),
    "ddim_half": (("ddim", "sampler.eta=0.5"), single(implicit, eta=0.5)),
    "ddim_1": (("ddim", "sampler.eta=1"), single(implicit, eta=1)),
    "euler_ancestral": (("euler_ancestral",), single(euler_down)),
    "sde": (("dpmpp_2m_sde",), partial(two_steps, eta=1)),
    "sde_half": (("dpmpp_2m_sde", "sampler.eta=0.5"), partial(two_steps, eta=0.5)),
    "edm": (("edm", *(f"sampler.{key}={value}" for key, value in CHURN.items())), churned),
    "restart": (("restart",), single(trapezoid)),
}


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_affine_recursion_is_followed(name, kind):
    """Of mean and covariance, at few steps and at many."""
    words, moves = SAMPLERS[name]
    for steps in (1, 2, 3, 6, 20):
        ratios = [*np.linspace(9 ** (1 / 3), 0.05 ** (1 / 3), steps) ** 3, 0.0]
        if name == "restart":
            ratios[-1:-1] = 2 * [2.0, 0.7, ratios[-2]]
        denoiser = Between(Correlated(kind, MEAN, COVARIANCE), 0.3)
        visited = denoiser.schedule.time(-2 * torch.tensor(ratios).log())
        norm = torch.hypot(*denoiser.schedule(visited[0]))
        whole = (f"sampler.steps={steps}",) if name == "edm" else ()
        sampler = build(config(*words, *whole))
        found = moments(sampler, denoiser, lambda z, norm=norm: norm * z, visited)
        for ours, exact in zip(found, recursion(moves(ratios, kind), ratios), strict=True):
            np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-10)


STATIONARY = {
    name: SAMPLERS[name][0]
    for name in ("ddpm", "ddpm_large", "ddim_half", "euler_ancestral", "sde", "restart")
} | {"edm": ("edm", "sampler.s_noise=1", "sampler.s_churn=20")}


def made(name, kind, steps):
    """The errors of the mean and of the covariance with so many steps."""
    denoiser = Correlated(kind, MEAN, COVARIANCE)
    words = (*STATIONARY[name], f"sampler.steps={steps}", "sampler/grid=log_snr")
    if name == "restart":
        words += ("sampler.repeats=3", "sampler.high=2", f"sampler.inner={steps // 4}")
    chosen = config(*words)
    visited = times(chosen, schedule(kind))
    first, covariance = denoiser.noisy(visited[0])
    root = torch.linalg.cholesky(covariance)
    mean, covariance = moments(build(chosen), denoiser, lambda z: first + z @ root.T, visited)
    return (mean - MEAN).norm().item(), (covariance - COVARIANCE).norm().item()


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("name", STATIONARY)
def test_the_mean_and_covariance_of_the_data_are_reached(name, kind):
    """The mean is kept at any number of steps; the covariance's error falls as they grow."""
    (mean, few), (_, many) = made(name, kind, 40), made(name, kind, 160)
    assert mean < 1e-9 and many < 0.03
    assert many < few / 3 or many < 2e-3
