"""Schedules against numpy and diffusers, times of training against scipy."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from scipy import stats

from dmtool.noise import (
    SCHEDULES,
    T,
    c_noise,
    draw_times,
    initial_std,
    log_snr,
    schedule,
    stratify,
)

DISCRETE = {"ddpm": ("linear", 1e-4, 0.02), "scaled_linear": ("scaled_linear", 0.00085, 0.012)}
HEARS = ["flow_time", "log_sigma", "ddpm_index", "sd_index"]
GRID = torch.arange(1, T + 1, dtype=torch.float64) / T
BETWEEN = torch.linspace(1e-4, 1 - 1e-4, 997, dtype=torch.float64)


def alpha_bar(kind):
    power, (_, start, end) = 0.5 if kind == "scaled_linear" else 1, DISCRETE[kind]
    betas = np.linspace(start**power, end**power, T) ** (1 / power)
    return np.cumprod(1 - betas)


@pytest.mark.parametrize("kind", DISCRETE)
def test_discrete_schedules_on_and_between_their_grid(kind):
    name, start, end = DISCRETE[kind]
    peer = DDPMScheduler(T, start, end, name).alphas_cumprod  # float32
    alpha, sigma = schedule(kind)(GRID)
    np.testing.assert_allclose(alpha**2, alpha_bar(kind), rtol=1e-12)
    np.testing.assert_allclose(sigma**2, 1 - alpha_bar(kind), rtol=1e-10)
    np.testing.assert_allclose(alpha**2, peer, rtol=2e-5)
    middle, _ = schedule(kind)(GRID[:-1] + 0.5 / T)
    np.testing.assert_allclose(middle**2, (alpha[1:] * alpha[:-1]), rtol=1e-12)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_ends_are_exact(kind):
    alpha, sigma = schedule(kind)(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert alpha[0] == 1 and sigma[0] == 0
    assert (alpha[1] == 0 and sigma[1] == 1) or kind in DISCRETE
    assert initial_std(schedule(kind)) == pytest.approx(1, abs=1e-12)
    infinite = torch.tensor([math.inf, -math.inf], dtype=torch.float64)
    assert schedule(kind).time(infinite).tolist() == [0, 1]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_time_inverts_the_log_snr_which_falls(kind):
    for t in (GRID[:-1], BETWEEN, torch.logspace(-8, -2, 50, dtype=torch.float64)):
        level = log_snr(*schedule(kind)(t))
        torch.testing.assert_close(schedule(kind).time(level), t, rtol=1e-11, atol=1e-12)
        assert level.diff().max() < 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_any_shape_and_type_and_variance_is_preserved(kind, dtype):
    t = torch.rand(2, 3, 4, dtype=dtype)
    alpha, sigma = schedule(kind)(t)
    assert alpha.shape == sigma.shape == t.shape and alpha.dtype == sigma.dtype == dtype
    assert schedule(kind).time(log_snr(alpha, sigma)).dtype == dtype
    total = alpha + sigma if kind == "flow" else alpha**2 + sigma**2
    torch.testing.assert_close(total, torch.ones_like(total))


def test_unknown_names_are_key_errors():
    for call in (schedule, lambda name: c_noise(name, GRID), lambda name: draw_times(name, GRID)):
        with pytest.raises(KeyError):
            call("cosin")


@pytest.mark.parametrize(("hears", "kind"), [("ddpm_index", "ddpm"), ("sd_index", "scaled_linear")])
def test_index_at_grid_points_whatever_the_schedule(hears, kind):
    level = log_snr(*schedule(kind)(GRID))
    index = torch.arange(T, dtype=torch.float64)
    torch.testing.assert_close(c_noise(hears, level), index, rtol=0, atol=1e-8)
    as_float = c_noise(hears, level.float())
    torch.testing.assert_close(as_float.double(), index, rtol=0, atol=1e-2)
    for other in SCHEDULES:
        t = schedule(other).time(level)
        inside = (t > 0) & (t < 1)
        heard = c_noise(hears, log_snr(*schedule(other)(t)))[inside]
        torch.testing.assert_close(heard, index[inside], rtol=0, atol=1e-6)


def test_what_the_network_hears_in_closed_form():
    level = log_snr(*schedule("flow")(BETWEEN))
    torch.testing.assert_close(c_noise("flow_time", level), 1000 * BETWEEN)
    sigma = torch.tensor([0.002, 0.5, 80], dtype=torch.float64)
    level = log_snr(torch.ones_like(sigma), sigma)
    torch.testing.assert_close(c_noise("log_sigma", level), sigma.log() / 4)


@pytest.mark.parametrize("hears", HEARS)
@pytest.mark.parametrize("kind", SCHEDULES)
def test_what_the_network_hears_is_finite_and_rises(hears, kind):
    t = torch.cat([torch.zeros(1), BETWEEN, torch.ones(1)])
    heard = c_noise(hears, log_snr(*schedule(kind)(t)))
    assert heard.isfinite().all() and (heard.diff() >= 0).all()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.5, 0.7)])
def test_logit_normal_times_follow_their_distribution(mean, std):
    uniform = torch.linspace(1e-4, 1 - 1e-4, 1001, dtype=torch.float64)
    times = draw_times("logit_normal", uniform, mean, std).numpy()
    law = stats.norm(mean, std)
    np.testing.assert_allclose(law.cdf(np.log(times / (1 - times))), uniform, atol=1e-9)
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = draw_times("logit_normal", uniform, mean, std).numpy()
    assert stats.kstest(np.log(draws / (1 - draws)), law.cdf).pvalue > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["uniform", "logit_normal"])
def test_times_stay_between_the_ends(kind, dtype):
    times = draw_times(kind, torch.tensor([0.0, 0.5, 1.0], dtype=dtype))
    assert 0 < times[0] < 1e-1 and 0.9 < times[2] < 1 and times[1] == 0.5


@pytest.mark.parametrize("shares", [1, 2, 8])
def test_one_time_in_each_stratum_however_the_batch_is_split(shares):
    size = 64
    uniform = torch.rand(size, dtype=torch.float64)
    uniform[0], uniform[-1] = 0, 1 - 2**-24
    parts = [
        stratify(uniform[rank::shares], torch.arange(rank, size, shares), size)
        for rank in range(shares)
    ]
    strata = torch.cat(parts).mul(size).floor().long()
    assert sorted(strata.tolist()) == list(range(size))
    whole = stratify(uniform, torch.arange(size), size)
    torch.testing.assert_close(whole * size - torch.arange(size), uniform, rtol=0, atol=1e-12)
    assert torch.equal(whole.sort().values, torch.cat(parts).sort().values)
