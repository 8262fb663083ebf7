"""Schedules against numpy, their papers and diffusers, times of training against scipy."""

import math

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from scipy import stats

from dmtool.diffusion.noise import (
    T,
    c_noise,
    ddpm_betas,
    exponential_shift,
    log_normal,
    log_snr,
    logit_normal,
    mode,
    schedule,
    sd_betas,
    sqrt_shift,
    stratify,
    uniform,
)

DISCRETE = {"ddpm": ("linear", 1e-4, 0.02), "scaled_linear": ("scaled_linear", 0.00085, 0.012)}
BETAS = {"ddpm": ddpm_betas, "scaled_linear": sd_betas}
KARRAS = {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0}
ALL = {
    "flow": {"kind": "flow"},
    "shifted": {"kind": "flow", "shift": 3.0},
    "cosine": {"kind": "cosine"},
    "sigmoid": {"kind": "sigmoid", "start": -3.0, "end": 3.0, "tau": 0.9},
    "ddpm": {"kind": "ddpm"},
    "scaled_linear": {"kind": "scaled_linear"},
    "ddpm_zero": {"kind": "ddpm", "zero_terminal_snr": True},
    "scaled_linear_zero": {"kind": "scaled_linear", "zero_terminal_snr": True},
    "vp_sde": {"kind": "vp_sde", "beta_min": 0.1, "beta_max": 20.0},
    "edm": {"kind": "edm", **KARRAS},
}
HEARS = ["flow_time", "log_sigma", "ddpm_index", "sd_index", "ddpm_zero_index", "sd_zero_index"]
GRID = torch.arange(1, T + 1, dtype=torch.float64) / T
BETWEEN = torch.linspace(1e-4, 1 - 1e-4, 997, dtype=torch.float64)
everything = pytest.mark.parametrize("name", ALL)


def made(name):
    return schedule(**ALL[name])


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


@pytest.mark.parametrize("kind", DISCRETE)
def test_zero_terminal_snr_is_diffusers_at_the_grid_and_has_no_jump(kind):
    betas = rescale_zero_terminal_snr(BETAS[kind]())
    rescaled = schedule(kind, zero_terminal_snr=True)
    alpha, sigma = rescaled(GRID)
    torch.testing.assert_close(alpha**2, (1 - betas).cumprod(0), rtol=1e-10, atol=1e-14)
    assert alpha[-1] == 0 and sigma[-1] == 1
    torch.testing.assert_close(alpha[0], schedule(kind)(GRID)[0][0], rtol=1e-15, atol=0)
    for corner in GRID[[0, 1, 500, 998]]:
        near = torch.stack([corner - 1e-9, corner, corner + 1e-9])
        assert rescaled(near)[0].diff().abs().max() < 1e-7


@everything
def test_the_ends_are_exact(name):
    alpha, sigma = made(name)(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert alpha[0] == 1 and sigma[0] == 0
    if name == "edm":
        assert sigma[1].item() == pytest.approx(80, rel=1e-14) and alpha[1] == 1
    else:
        open_end = name in ("ddpm", "scaled_linear", "vp_sde")
        assert (alpha[1] == 0) != open_end
    infinite = torch.tensor([math.inf, -math.inf], dtype=torch.float64)
    assert made(name).time(infinite).tolist() == pytest.approx([0, 1], abs=1e-13)


@everything
def test_time_inverts_the_log_snr_which_falls(name):
    for t in (GRID[:-1], BETWEEN, torch.logspace(-8, -2, 50, dtype=torch.float64)):
        level = log_snr(*made(name)(t))
        torch.testing.assert_close(made(name).time(level), t, rtol=1e-11, atol=1e-12)
        assert level.diff().max() < 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@everything
def test_any_shape_and_type_and_what_is_preserved(name, dtype):
    t = torch.rand(2, 3, 4, dtype=dtype)
    alpha, sigma = made(name)(t)
    assert alpha.shape == sigma.shape == t.shape and alpha.dtype == sigma.dtype == dtype
    assert made(name).time(log_snr(alpha, sigma)).dtype == dtype
    if name == "edm":
        total = alpha
    else:
        total = alpha + sigma if "flow" in name or name == "shifted" else alpha**2 + sigma**2
    torch.testing.assert_close(total, torch.ones_like(total))


def test_sigmoid_is_the_papers():
    alpha, _ = made("sigmoid")(BETWEEN)
    first, last = (1 / (1 + math.exp(-x / 0.9)) for x in (-3, 3))
    here = torch.sigmoid((BETWEEN * 6 - 3) / 0.9)
    torch.testing.assert_close(alpha**2, (last - here) / (last - first), rtol=1e-9, atol=1e-12)


def test_the_sde_is_the_integral_of_its_rate():
    alpha, _ = made("vp_sde")(BETWEEN)
    rate = 0.1 + 19.9 * BETWEEN  # d ln alpha^2 = -rate dt, linear: the trapezoidal rule is exact
    steps = -(rate[1:] + rate[:-1]) / 2 * BETWEEN.diff()
    torch.testing.assert_close((alpha**2).log().diff(), steps, rtol=1e-9, atol=1e-12)
    ours, ddpm = log_snr(*made("vp_sde")(GRID)), log_snr(*made("ddpm")(GRID))
    assert (ours - ddpm).abs()[10:].max() < 0.08  # DDPM is its discretisation


def test_edm_is_karras_path():
    peer = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    peer.set_timesteps(18)
    path = torch.linspace(1, 0, 18, dtype=torch.float64) * (1 - 1 / T) + 1 / T
    sigma = made("edm")(path)[1]
    torch.testing.assert_close(sigma, peer.sigmas[:-1].double(), rtol=2e-5, atol=0)
    t = np.arange(18) / 17
    paper = (80 ** (1 / 7) + t * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigma, paper, rtol=1e-12)


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_shifts_are_diffusers_and_inverses(shift):
    peer = FlowMatchEulerDiscreteScheduler(shift=shift)  # float32
    sigma = schedule("flow", shift=shift)(GRID)[1]
    torch.testing.assert_close(sigma.flip(0), peer.sigmas.double(), rtol=1e-6, atol=0)
    back = schedule("flow", shift=1 / shift)(sigma)[1]
    torch.testing.assert_close(back, GRID, rtol=1e-12, atol=0)


def test_shifts_that_follow_the_resolution():
    assert sqrt_shift(3.0, 64 * 64, 128 * 128) == pytest.approx(1.5)
    assert exponential_shift(1024, (1024, 16384), (0.5, 1.15)) == pytest.approx(math.exp(0.5))
    mu = 0.5 + (1.15 - 0.5) * (1024 - 256) / (4096 - 256)  # FLUX, in patches of 2 x 2
    found = exponential_shift(4096, (1024, 16384), (0.5, 1.15))
    peer = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    times = GRID.flip(0).numpy()
    expected = peer.time_shift(mu, 1.0, times)
    np.testing.assert_allclose(schedule("flow", shift=found)(GRID.flip(0))[1], expected, rtol=1e-12)


def test_unknown_names_are_key_errors():
    for call in (schedule, lambda name: c_noise(name, GRID)):
        with pytest.raises(KeyError):
            call("cosin")


INDICES = {
    "ddpm_index": "ddpm",
    "sd_index": "scaled_linear",
    "ddpm_zero_index": "ddpm_zero",
    "sd_zero_index": "scaled_linear_zero",
}


@pytest.mark.parametrize("hears", INDICES)
def test_index_at_grid_points_whatever_the_schedule(hears):
    level = log_snr(*made(INDICES[hears])(GRID))
    index = torch.arange(T, dtype=torch.float64)
    torch.testing.assert_close(c_noise(hears, level), index, rtol=0, atol=1e-8)
    as_float = c_noise(hears, level.float())
    torch.testing.assert_close(as_float.double(), index, rtol=0, atol=1e-2)
    for other in ALL:
        t = made(other).time(level)
        inside = (t > 0) & (t < 1)
        heard = c_noise(hears, log_snr(*made(other)(t)))[inside]
        torch.testing.assert_close(heard, index[inside], rtol=0, atol=1e-6)


def test_what_the_network_hears_in_closed_form():
    level = log_snr(*schedule("flow")(BETWEEN))
    torch.testing.assert_close(c_noise("flow_time", level), 1000 * BETWEEN)
    sigma = torch.tensor([0.002, 0.5, 80], dtype=torch.float64)
    level = log_snr(torch.ones_like(sigma), sigma)
    torch.testing.assert_close(c_noise("log_sigma", level), sigma.log() / 4)


@pytest.mark.parametrize("hears", HEARS)
@everything
def test_what_the_network_hears_is_finite_and_rises(hears, name):
    t = torch.cat([torch.zeros(1), BETWEEN, torch.ones(1)])
    heard = c_noise(hears, log_snr(*made(name)(t)))
    assert heard.isfinite().all() and (heard.diff() >= 0).all()


# --- times ---


RANDOM = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.5, 0.7)])
def test_logit_normal_times_follow_their_distribution(mean, std):
    numbers = torch.linspace(1e-4, 1 - 1e-4, 1001, dtype=torch.float64)
    times = logit_normal(numbers, mean, std).numpy()
    law = stats.norm(mean, std)
    np.testing.assert_allclose(law.cdf(np.log(times / (1 - times))), numbers, atol=1e-9)
    draws = logit_normal(RANDOM, mean, std).numpy()
    assert stats.kstest(np.log(draws / (1 - draws)), law.cdf).pvalue > 0.01


@everything
def test_log_normal_draws_ln_sigma_on_every_schedule(name):
    times = log_normal(RANDOM, -1.2, 1.2, made(name))
    alpha, sigma = made(name)(times)
    assert stats.kstest((sigma / alpha).log().numpy(), stats.norm(-1.2, 1.2).cdf).pvalue > 0.01
    if name == "flow":  # ln sigma / alpha is the logit of t
        inside = (RANDOM > 1e-3) & (RANDOM < 0.999)
        same = logit_normal(RANDOM, -1.2, 1.2)
        torch.testing.assert_close(times[inside], same[inside])


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.8, 1.29, 2 / (math.pi - 2)])
def test_mode_times_have_the_papers_density(scale):
    """1 / |f'(u)| of its equation 20, by differences of f at the numbers that were drawn."""
    u = np.linspace(0, 1, 1001)
    paper = 1 - u - scale * (np.cos(np.pi * u / 2) ** 2 - 1 + u)
    ours = mode(torch.tensor(1 - u), scale).numpy()
    np.testing.assert_allclose(ours, paper.clip(1e-4, 1 - 1e-4), atol=1e-14)
    assert (np.diff(ours) <= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "draw", [uniform, lambda n: logit_normal(n, 0.0, 1.0), lambda n: mode(n, 1.29)]
)
def test_times_stay_between_the_ends(draw, dtype):
    times = draw(torch.tensor([0.0, 0.5, 1.0], dtype=dtype))
    assert 0 < times[0] < 1e-1 and 0.9 < times[2] < 1
    assert times[1].item() == pytest.approx(0.5)


@pytest.mark.parametrize("shares", [1, 2, 8])
def test_one_time_in_each_stratum_however_the_batch_is_split(shares):
    size = 64
    numbers = torch.rand(size, dtype=torch.float64)
    numbers[0], numbers[-1] = 0, 1 - 2**-24
    parts = [
        stratify(numbers[rank::shares], torch.arange(rank, size, shares), size)
        for rank in range(shares)
    ]
    strata = torch.cat(parts).mul(size).floor().long()
    assert sorted(strata.tolist()) == list(range(size))
    whole = stratify(numbers, torch.arange(size), size)
    torch.testing.assert_close(whole * size - torch.arange(size), numbers, rtol=0, atol=1e-12)
    assert torch.equal(whole.sort().values, torch.cat(parts).sort().values)
