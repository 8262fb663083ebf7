"""Samplers on Gaussian data, whose denoiser and trajectories have closed forms."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch

from dmtool.cond import Cond
from dmtool.denoise import Denoiser, expand
from dmtool.noise import SCHEDULES, log_snr, schedule
from dmtool.samplers import (
    Bound,
    PictureNoise,
    build,
    calls,
    ddim,
    ddpm,
    dpmpp_2m,
    euler,
    grid,
    heun,
    last,
    trajectory,
)
from dmtool.schemas import Sampler

MEAN, STD = 0.3, 0.5
CPU = torch.device("cpu")
KINDS = ["ddpm", "ddim", "euler", "heun", "dpmpp_2m"]


class Gaussian:
    """E[x_0 | x_t] of data that are normal(MEAN, STD) in each value."""

    def __init__(self, kind):
        self.schedule = schedule(kind)

    def __call__(self, x_t, t, cond=None):
        alpha, sigma = (expand(each, x_t) for each in self.schedule(t))
        variance = alpha**2 * STD**2 + sigma**2
        return MEAN + alpha * STD**2 / variance * (x_t - alpha * MEAN)

    def state(self, z, t):
        """Where the probability flow takes the standard normal z: x_t = mean(t) + std(t) z."""
        alpha, sigma = self.schedule(torch.tensor(t, dtype=torch.float64))
        return alpha * MEAN + (alpha**2 * STD**2 + sigma**2).sqrt() * z


def config(kind, steps=6, grid="uniform", eta=0.0, variance="small"):
    return Sampler(kind=kind, steps=steps, grid=grid, eta=eta, variance=variance)


def normal(seed):
    numbers = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=numbers, dtype=x.dtype)


def no_noise(x):
    raise AssertionError("a deterministic sampler drew noise")


def network(x, level, cond):
    return torch.tanh(x.roll(1, -1) + expand(level / 300, x).cos())


@pytest.mark.parametrize("kind", ["flow", "cosine"])
@pytest.mark.parametrize(
    ("sampler", "order"),
    [(euler, 1), (partial(ddim, eta=0.0), 1), (heun, 2), (dpmpp_2m, 2)],
    ids=["euler", "ddim", "heun", "dpmpp_2m"],
)
def test_order_of_convergence(sampler, order, kind):
    denoiser, z = Gaussian(kind), torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(3, 3)
    errors = []
    for steps in (64, 128, 256):
        times = torch.linspace(0.95, 0.05, steps + 1, dtype=torch.float64)
        bound, start = Bound(denoiser, Cond()), denoiser.state(z, 0.95)
        found = last(sampler(bound, start, times, noise=no_noise))
        errors.append((found - denoiser.state(z, 0.05)).abs().max().item())
    for before, after in pairwise(errors):
        assert math.log2(before / after) == pytest.approx(order, abs=0.12)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("spacing", ["uniform", "log_snr"])
@pytest.mark.parametrize("sampler", ["euler", "ddim", "heun", "dpmpp_2m"])
def test_deterministic_samplers_reach_the_data(sampler, spacing, kind):
    denoiser, z = Gaussian(kind), torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(3, 3)
    times = grid(spacing, 400, denoiser.schedule)
    bound, start = Bound(denoiser, Cond()), denoiser.state(z, 1.0)
    steps = list(build(config(sampler))(bound, start, times, noise=no_noise))
    torch.testing.assert_close(steps[-1].x, MEAN + STD * z, rtol=0, atol=0.02)
    assert [step.t for step in steps] == times[1:].tolist()
    assert torch.equal(steps[-1].x, steps[-1].x_0)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize(
    "sampler",
    [partial(ddim, eta=1.0), partial(ddpm, variance="small"), partial(ddpm, variance="large")],
    ids=["ddim", "small", "large"],
)
def test_ancestral_samplers_reach_the_mean_and_deviation_of_the_data(sampler, kind):
    denoiser, noise = Gaussian(kind), normal(0)
    start = noise(torch.zeros(2, 10_000, dtype=torch.float64))
    times = grid("uniform", 200, denoiser.schedule)
    x = last(sampler(Bound(denoiser, Cond()), start, times, noise=noise))
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(STD, abs=0.02)


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_one_ancestral_step_is_the_posterior(kind, variance):
    """Against the Gaussian algebra of q(x_s | x_t, x_0), by precisions instead of products."""
    denoiser, t, s = Gaussian(kind), 0.7, 0.6
    times = torch.tensor([t, s], dtype=torch.float64)
    (alpha, alpha_s), (sigma, sigma_s) = denoiser.schedule(times)
    x = torch.full((2, 1), 0.4, dtype=torch.float64)
    x_0 = denoiser(x, times[:1].expand(2))
    ratio = alpha / alpha_s
    added = sigma**2 - (ratio * sigma_s) ** 2  # of x_t given x_s
    precision = 1 / sigma_s**2 + ratio**2 / added
    mean = (alpha_s * x_0 / sigma_s**2 + ratio * x / added) / precision
    std = added.sqrt() if variance == "large" else precision**-0.5
    found = last(ddpm(Bound(denoiser, Cond()), x, times, noise=torch.ones_like, variance=variance))
    torch.testing.assert_close(found, mean + std, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_calls_are_counted_right(kind, steps):
    chosen, bound = config(kind, steps), Bound(Gaussian("flow"), Cond())
    times = grid("uniform", steps, bound.schedule)
    states = list(build(chosen)(bound, torch.zeros(1, 2), times, noise=normal(0)))
    assert len(states) == steps and bound.calls == calls(chosen)


@pytest.mark.parametrize("kind", ["flow", "cosine"])
@pytest.mark.parametrize("prediction", ["x0", "v", "flow"])
@pytest.mark.parametrize("hears", ["flow_time", "log_sigma", "ddpm_index", "sd_index"])
def test_every_sampler_is_finite_from_pure_noise(kind, prediction, hears):
    denoiser = Denoiser(network, schedule(kind), prediction, hears)
    for sampler in KINDS:
        for steps, spacing, eta in [(1, "uniform", 0), (2, "log_snr", 1), (5, "log_snr", 0.5)]:
            chosen = config(sampler, steps, spacing, eta, "large")
            keys = [(0, 0), (0, 1)]
            for step in trajectory(denoiser, Cond(), (2, 3), keys, chosen, "test", CPU):
                assert step.x.isfinite().all() and step.x_0.isfinite().all()
                assert step.x.dtype == torch.float32


@pytest.mark.parametrize("kind", SCHEDULES)
def test_grids(kind):
    for spacing in ("uniform", "log_snr"):
        for steps in (1, 2, 9):
            times = grid(spacing, steps, schedule(kind))
            assert times.shape == (steps + 1,) and times.dtype == torch.float64
            assert times[0] == 1 and times[-1] == 0 and (times.diff() < 0).all()
    inner = log_snr(*schedule(kind)(grid("log_snr", 9, schedule(kind))[1:-1]))
    torch.testing.assert_close(inner.diff(), inner.diff().mean().expand(7))
    with pytest.raises(KeyError):
        grid("karras", 9, schedule(kind))


def test_a_trajectory_begins_with_the_pictures_own_noise():
    keys = [(0, 0), (0, 1)]
    states = trajectory(Gaussian("flow"), Cond(), (2, 3), keys, config("heun", 4), "test", CPU)
    steps = list(states)
    assert [step.t for step in steps] == [1, 0.75, 0.5, 0.25, 0]
    draw = PictureNoise([(0, "test", 0), (0, "test", 1)])
    assert torch.equal(steps[0].x, draw(torch.zeros(2, 2, 3))) and not steps[0].x_0.any()


@pytest.mark.parametrize("chosen", [config(kind, eta=1.0) for kind in KINDS], ids=KINDS)
def test_the_batch_does_not_change_a_picture(chosen):
    denoiser = Denoiser(network, schedule("flow"), "flow", "flow_time")

    def sample(keys):
        return last(trajectory(denoiser, Cond(), (3, 5), keys, chosen, "test", CPU))

    keys = [(0, 0), (0, 1), (7, 0), (7, 3)]
    together = sample(keys)
    alone = torch.cat([sample([key]) for key in keys])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    torch.testing.assert_close(sample(keys[::-1]).flip(0), together, rtol=0, atol=1e-6)
    assert torch.pdist(together.flatten(1)).min() > 0.1


def test_a_pictures_noise_is_standard_normal_and_its_own():
    draw = PictureNoise([(0, "a", i) for i in range(64)])
    first, second = draw(torch.zeros(64, 400)), draw(torch.zeros(64, 400))
    everything = torch.stack([first, second]).flatten(0, 1)
    assert everything.mean().abs() < 0.02 and everything.std() == pytest.approx(1, abs=0.02)
    correlation = torch.corrcoef(everything) - torch.eye(128)
    assert correlation.abs().max() < 0.3
    assert draw(torch.zeros(64, 2, dtype=torch.float64)).dtype == torch.float64
