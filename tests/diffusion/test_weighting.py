"""Weightings against their papers' closed forms, on each prediction."""

import math

import pytest
import torch

from dmtool.config.noise import Weighting
from dmtool.config.validation import validate
from dmtool.diffusion import weighting
from dmtool.diffusion.denoise import x0_coefficients
from dmtool.diffusion.noise import log_snr, schedule

TIMES = torch.tensor([0.001, 0.0333, 0.25, 0.5, 0.7071, 0.9, 0.999], dtype=torch.float64)
SETTINGS = {
    "min_snr": {"gamma": 5.0},
    "p2": {"gamma": 0.5, "k": 2.0},
    "edm": {"sigma_data": 0.5},
    "sigmoid": {"bias": -3.0},
}


def weight(kind, **settings):
    return weighting.build(validate({"kind": kind, **settings}, Weighting))


def on(prediction, kind, alpha, sigma, **settings):
    """The weight of ||F_hat - F||^2."""
    _, c_out = x0_coefficients(prediction, alpha, sigma, 0.5)
    return weight(kind, **settings)(log_snr(alpha, sigma)) * c_out**2


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
    found = on(prediction, "min_snr", alpha, sigma, gamma=gamma)
    torch.testing.assert_close(found, snr.clamp(max=gamma) * factor(snr, sigma))


@pytest.mark.parametrize("kind", ["scaled_linear", "cosine", "flow"])
def test_p2_and_sigmoid_are_the_papers_weights_of_the_noise(kind):
    alpha, sigma = schedule(kind)(TIMES)
    snr = (alpha / sigma) ** 2
    found = on("eps", "p2", alpha, sigma, gamma=0.5, k=2.0)
    torch.testing.assert_close(found, (2 + snr) ** -0.5)
    found = on("eps", "sigmoid", alpha, sigma, bias=-3.0)
    torch.testing.assert_close(found, 1 / (1 + math.exp(3) * snr))


@pytest.mark.parametrize("kind", ["scaled_linear", "cosine", "flow", "edm"])
def test_edms_weight_is_its_table_and_1_on_its_own_prediction(kind):
    options = {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0} if kind == "edm" else {}
    alpha, sigma = schedule(kind, **options)(TIMES)
    level = sigma / alpha
    found = weight("edm", sigma_data=0.5)(log_snr(alpha, sigma))
    torch.testing.assert_close(found, (level**2 + 0.25) / (level * 0.5) ** 2)
    torch.testing.assert_close(
        on("edm", "edm", alpha, sigma, sigma_data=0.5), torch.ones_like(TIMES)
    )


@pytest.mark.parametrize("kind", SETTINGS)
def test_weights_are_finite_where_training_goes(kind):
    found = weight(kind, **SETTINGS[kind])(torch.linspace(-40, 40, 81, dtype=torch.float64))
    assert found.isfinite().all() and (found > 0).all()
    assert weight("uniform") is None
