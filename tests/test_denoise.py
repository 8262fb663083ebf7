"""Conversions as inverses, losses as DESIGN states them, and diffusers' velocity."""

import pytest
import torch
from diffusers import DDPMScheduler

from dmtool.cond import Cond
from dmtool.config import validate
from dmtool.denoise import (
    Denoiser,
    build,
    eps_from_x0,
    expand,
    loss_weight,
    target_coefficients,
    x0_coefficients,
)
from dmtool.errors import UserError
from dmtool.noise import SCHEDULES, schedule
from dmtool.schemas import Noise

PREDICTIONS = ["eps", "x0", "v", "flow"]
TIMES = torch.tensor([0.001, 0.0333, 0.25, 0.5, 0.7071, 0.9, 0.999], dtype=torch.float64)
everything = pytest.mark.parametrize("kind", SCHEDULES)
predictions = pytest.mark.parametrize("prediction", PREDICTIONS)


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
    alpha, sigma = schedule(kind)(TIMES)
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
    a, b = target_coefficients(prediction, alpha, sigma)
    c_skip, c_out = x0_coefficients(prediction, alpha, sigma)
    target = expand(a, x_0) * x_0 + expand(b, x_0) * eps
    found = expand(c_skip, x_t) * x_t + expand(c_out, x_t) * target
    torch.testing.assert_close(found, x_0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(eps_from_x0(x_t, found, alpha, sigma), eps, rtol=1e-7, atol=1e-7)


@everything
@predictions
def test_any_prediction_survives_the_way_to_x0_and_eps_and_back(kind, prediction):
    x_t, prediction_of = batch()
    alpha, sigma = schedule(kind)(TIMES)
    c_skip, c_out = x0_coefficients(prediction, alpha, sigma)
    x_0 = expand(c_skip, x_t) * x_t + expand(c_out, x_t) * prediction_of
    eps = eps_from_x0(x_t, x_0, alpha, sigma)
    a, b = target_coefficients(prediction, alpha, sigma)
    back = expand(a, x_t) * x_0 + expand(b, x_t) * eps
    torch.testing.assert_close(back, prediction_of, rtol=1e-9, atol=1e-9)


@everything
@predictions
def test_conversions_are_finite_or_refused_by_name_at_the_ends(kind, prediction):
    start, end = (schedule(kind)(torch.tensor([t], dtype=torch.float64)) for t in (1.0, 0.0))
    x = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"x0 -> eps .* sigma = 0"):
        eps_from_x0(x, x, *end)
    assert eps_from_x0(x, x, *start).isfinite().all()
    assert all(c.isfinite().all() for c in x0_coefficients(prediction, *end))
    if prediction == "eps" and kind in ("flow", "cosine"):
        with pytest.raises(ValueError, match=r"eps -> x0 .* alpha = 0"):
            x0_coefficients(prediction, *start)
    else:
        assert all(c.isfinite().all() for c in x0_coefficients(prediction, *start))


@pytest.mark.parametrize("kind", ["flow", "cosine"])
def test_eps_with_a_zero_terminal_snr_is_a_config_error(kind):
    config = {"kind": kind, "prediction": "eps", "c_noise": "flow_time"}
    config["times"] = {"kind": "uniform", "mean": 0, "std": 1, "stratified": True}
    config["weighting"] = {"kind": "uniform", "gamma": 5}
    with pytest.raises(UserError, match=f"prediction=eps .* kind={kind}"):
        validate(config, Noise)
    assert validate(config | {"kind": "ddpm"}, Noise).prediction == "eps"


def test_unknown_names_are_key_errors():
    one = torch.ones(1)
    for call in (target_coefficients, x0_coefficients):
        with pytest.raises(KeyError):
            call("epsilon", one, one)
    with pytest.raises(KeyError):
        loss_weight("snr", 5.0, "eps", one, one)


@everything
@predictions
def test_the_loss_is_that_of_the_clean_picture_over_c_out_squared(kind, prediction):
    x_0, eps = batch()
    denoiser = Denoiser(network, schedule(kind), prediction, "flow_time")
    alpha, sigma = schedule(kind)(TIMES)
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
    error = (denoiser(x_t, TIMES, Cond()) - x_0).square().flatten(1).mean(1)
    _, c_out = x0_coefficients(prediction, alpha, sigma)
    loss = denoiser.loss(x_0, eps, TIMES, Cond(), "uniform", 5.0)
    torch.testing.assert_close(loss.double() * c_out**2, error, rtol=1e-4, atol=1e-9)
    weighted = denoiser.loss(x_0, eps, TIMES, Cond(), "min_snr", 5.0)
    expected = (alpha / sigma).square().clamp(max=5) * error
    torch.testing.assert_close(weighted.double(), expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
@pytest.mark.parametrize(
    ("kind", "prediction", "factor"),
    [
        ("scaled_linear", "x0", lambda snr, sigma: 1),
        ("scaled_linear", "eps", lambda snr, sigma: 1 / snr),
        ("cosine", "v", lambda snr, sigma: 1 / (snr + 1)),
        ("flow", "flow", lambda snr, sigma: sigma**2),
    ],
)
def test_min_snr_as_the_design_states_it(kind, prediction, factor, gamma):
    alpha, sigma = schedule(kind)(TIMES)
    snr = (alpha / sigma) ** 2
    found = loss_weight("min_snr", gamma, prediction, alpha, sigma)
    torch.testing.assert_close(found, snr.clamp(max=gamma) * factor(snr, sigma))


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
