"""Conversions as inverses, losses as DESIGN states them, and diffusers' velocity."""

import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler

from dmtool.cond import Cond
from dmtool.diffusion.denoise import (
    Denoiser,
    build,
    c_in,
    eps_from_x0,
    expand,
    target_coefficients,
    x0_coefficients,
)
from dmtool.diffusion.noise import schedule

PREDICTIONS = ["eps", "x0", "v", "flow", "edm"]
DATA = 0.5  # the standard deviation that edm knows of
SCHEDULES = {
    "flow": {"shift": 2.0},
    "cosine": {},
    "sigmoid": {"start": -3.0, "end": 3.0, "tau": 1.0},
    "ddpm": {},
    "scaled_linear": {"zero_terminal_snr": True},
    "vp_sde": {"beta_min": 0.1, "beta_max": 20.0},
    "edm": {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0},
}
ZERO = ["flow", "cosine", "sigmoid", "scaled_linear"]  # alpha is 0 at the end
TIMES = torch.tensor([0.001, 0.0333, 0.25, 0.5, 0.7071, 0.9, 0.999], dtype=torch.float64)
everything = pytest.mark.parametrize("kind", SCHEDULES)
predictions = pytest.mark.parametrize("prediction", PREDICTIONS)


def made(kind):
    return schedule(kind, **SCHEDULES[kind])


def batch(seed=0):
    """Two float64 tensors [len(TIMES), 3, 4, 4]."""
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(2, len(TIMES), 3, 4, 4, generator=numbers, dtype=torch.float64)


def network(x, level, cond):
    return torch.tanh(x.roll(1, -1) + level.to(x).cos()[:, None, None, None])


@everything
@predictions
def test_a_true_prediction_gives_the_picture_and_the_noise_back(kind, prediction):
    x_0, eps = batch()
    alpha, sigma = made(kind)(TIMES)
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
    a, b = target_coefficients(prediction, alpha, sigma, DATA)
    c_skip, c_out = x0_coefficients(prediction, alpha, sigma, DATA)
    target = expand(a, x_0) * x_0 + expand(b, x_0) * eps
    found = expand(c_skip, x_t) * x_t + expand(c_out, x_t) * target
    torch.testing.assert_close(found, x_0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(eps_from_x0(x_t, found, alpha, sigma), eps, rtol=1e-7, atol=1e-7)


@everything
@predictions
def test_any_prediction_survives_the_way_to_x0_and_eps_and_back(kind, prediction):
    x_t, prediction_of = batch()
    alpha, sigma = made(kind)(TIMES)
    c_skip, c_out = x0_coefficients(prediction, alpha, sigma, DATA)
    x_0 = expand(c_skip, x_t) * x_t + expand(c_out, x_t) * prediction_of
    eps = eps_from_x0(x_t, x_0, alpha, sigma)
    a, b = target_coefficients(prediction, alpha, sigma, DATA)
    back = expand(a, x_t) * x_0 + expand(b, x_t) * eps
    torch.testing.assert_close(back, prediction_of, rtol=1e-9, atol=1e-9)


@everything
@predictions
def test_conversions_are_finite_or_refused_by_name_at_the_ends(kind, prediction):
    start, end = (made(kind)(torch.tensor([t], dtype=torch.float64)) for t in (1.0, 0.0))
    x = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"x0 -> eps .* sigma = 0"):
        eps_from_x0(x, x, *end)
    assert eps_from_x0(x, x, *start).isfinite().all()
    assert all(c.isfinite().all() for c in x0_coefficients(prediction, *end, DATA))
    if prediction == "eps" and kind in ZERO:
        with pytest.raises(ValueError, match=r"eps -> x0 .* alpha = 0"):
            x0_coefficients(prediction, *start, DATA)
    else:
        assert all(c.isfinite().all() for c in x0_coefficients(prediction, *start, DATA))


def test_unknown_names_are_key_errors():
    one = torch.ones(1)
    for call in (target_coefficients, x0_coefficients):
        with pytest.raises(KeyError):
            call("epsilon", one, one)


@everything
@predictions
def test_the_loss_is_that_of_the_clean_picture_over_c_out_squared(kind, prediction):
    x_0, eps = batch()
    denoiser = Denoiser(network, made(kind), prediction, "flow_time", DATA)
    alpha, sigma = made(kind)(TIMES)
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
    error = (denoiser(x_t, TIMES, Cond()) - x_0).square().flatten(1).mean(1)
    _, c_out = x0_coefficients(prediction, alpha, sigma, DATA)
    loss = denoiser.loss(x_0, eps, TIMES, Cond(), None)
    torch.testing.assert_close(loss.double() * c_out**2, error, rtol=1e-4, atol=1e-9)
    weighted = denoiser.loss(x_0, eps, TIMES, Cond(), lambda level: level.exp().clamp(max=5))
    expected = (alpha / sigma).square().clamp(max=5) * error
    torch.testing.assert_close(weighted.double(), expected, rtol=1e-4, atol=1e-9)


def test_noising_and_v_are_diffusers():
    peer = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    index = torch.tensor([0, 1, 33, 250, 500, 900, 999])
    x_0, eps = batch()
    alpha, sigma = schedule("scaled_linear")((index + 1).double() / 1000)
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
    torch.testing.assert_close(x_t, peer.add_noise(x_0, eps, index), rtol=0, atol=1e-5)
    a, b = target_coefficients("v", alpha, sigma)
    v = expand(a, x_0) * x_0 + expand(b, x_0) * eps
    torch.testing.assert_close(v, peer.get_velocity(x_0, eps, index), rtol=0, atol=1e-5)


def test_a_card_builds_a_denoiser_whose_network_hears_the_index():
    heard = []

    def listening(x, level, cond):
        heard.append(level)
        return torch.zeros_like(x)

    process = {"kind": "scaled_linear", "prediction": "v", "c_noise": "sd_index"}
    t = torch.tensor([1, 500, 1000], dtype=torch.float64) / 1000
    x_t = torch.ones(3, 2, 2, dtype=torch.float32)
    x_0 = build(listening, process)(x_t, t, Cond())
    assert heard[0].dtype == torch.float32
    torch.testing.assert_close(heard[0], torch.tensor([0.0, 499, 999]), rtol=0, atol=1e-12)
    alpha = schedule("scaled_linear")(t)[0].float()  # v = 0: x_0 is alpha x_t
    torch.testing.assert_close(x_0, alpha[:, None, None].expand(3, 2, 2))


def test_edm_is_the_papers_preconditioning_and_diffusers():
    """Karras et al., arXiv:2206.00364, table 1 and equation 8."""
    sigma = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0], dtype=torch.float64)
    one, total = torch.ones_like(sigma), sigma**2 + DATA**2
    c_skip, c_out = x0_coefficients("edm", one, sigma, DATA)
    torch.testing.assert_close(c_skip, DATA**2 / total, rtol=1e-14, atol=0)
    torch.testing.assert_close(c_out, sigma * DATA / total.sqrt(), rtol=1e-14, atol=0)
    torch.testing.assert_close(c_in(one, sigma, DATA), total**-0.5, rtol=1e-14, atol=0)
    a, b = target_coefficients("edm", one, sigma, DATA)
    torch.testing.assert_close(a, (1 - c_skip) / c_out, rtol=1e-10, atol=0)
    torch.testing.assert_close(b, -c_skip * sigma / c_out, rtol=1e-14, atol=0)
    peer = EDMEulerScheduler(sigma_data=DATA)
    x, output = batch()
    for level, c_s, c_o in zip(sigma, c_skip, c_out, strict=True):
        theirs = peer.precondition_outputs(x, output, level)
        torch.testing.assert_close(c_s * x + c_o * output, theirs, rtol=1e-12, atol=1e-12)


@predictions
def test_the_networks_input_has_variance_1_where_the_noise_explodes(prediction):
    seen = []

    def looking(x, level, cond):
        seen.append(x)
        return torch.zeros_like(x)

    x_0, eps = batch()
    _, sigma = made("edm")(TIMES)
    x_t = DATA * x_0 + expand(sigma, eps) * eps
    process = {"kind": "edm", **SCHEDULES["edm"], "prediction": prediction, "c_noise": "log_sigma"}
    build(looking, process | {"sigma_data": DATA})(x_t, TIMES, Cond())
    Denoiser(looking, made("edm"), "x0", "log_sigma")(x_t, TIMES, Cond())
    expected = x_t / expand((sigma**2 + DATA**2).sqrt(), x_t)
    torch.testing.assert_close(seen[0], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(seen[1], x_t)


@pytest.mark.parametrize("kind", ["flow", "cosine", "vp_sde", "edm"])
def test_edm_of_unit_data_is_minus_v_of_the_scaled_state(kind):
    """The same function of the network, whatever the schedule: sigma x_0 - alpha eps, over n."""
    alpha, sigma = made(kind)(TIMES)
    norm = (alpha**2 + sigma**2).sqrt()
    a, b = target_coefficients("edm", alpha, sigma, 1.0)
    v = target_coefficients("v", alpha / norm, sigma / norm)
    torch.testing.assert_close((-a, -b), v)
