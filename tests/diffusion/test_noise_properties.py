"""What holds for every noise process, of whatever settings: schedules, conversions, configs."""

from dataclasses import asdict
from functools import cache

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dmtool.config.compose import composed
from dmtool.config.stages import TrainUnet
from dmtool.config.validation import validate
from dmtool.diffusion.denoise import eps_from_x0, target_coefficients, x0_coefficients
from dmtool.diffusion.noise import log_snr, schedule
from dmtool.errors import UserError
from dmtool.train.stages.process import process_card

KINDS = ["flow", "cosine", "sigmoid", "ddpm", "scaled_linear", "vp_sde", "edm"]
PREDICTIONS = st.sampled_from(["eps", "x0", "v", "flow", "edm"])
SMALLEST = 1e-3
"""Alpha and sigma from which on conversions are inverse."""

quickly = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def between(low, high):
    return st.floats(low, high)


@st.composite
def schedules(draw):
    """A schedule of any kind and settings."""
    kind = draw(st.sampled_from(KINDS))
    match kind:
        case "flow":
            options = {"shift": draw(between(0.05, 20))}
        case "sigmoid":
            start = draw(between(-6, 2))
            options = {"start": start, "end": start + draw(between(0.5, 6)),
                       "tau": draw(between(0.3, 3))}  # fmt: skip
        case "ddpm" | "scaled_linear":
            options = {"zero_terminal_snr": draw(st.booleans())}
        case "vp_sde":
            low = draw(between(0.01, 1))
            options = {"beta_min": low, "beta_max": low + draw(between(0.1, 30))}
        case "edm":
            low = draw(between(1e-4, 1))
            options = {"sigma_min": low, "sigma_max": low * draw(between(2, 1e4)),
                       "rho": draw(between(1, 10))}  # fmt: skip
        case _:
            options = {}
    return schedule(kind, **options)


def at(made, *times):
    return made(torch.tensor(times, dtype=torch.float64))


@quickly
@given(schedules(), between(1e-6, 1 - 1e-6), between(1e-6, 1 - 1e-6))
def test_schedules_are_positive_and_their_snr_falls(made, one, other):
    assume(abs(one - other) > 1e-6)
    alpha, sigma = at(made, min(one, other), max(one, other))
    assert (alpha > 0).all() and (sigma > 0).all() and torch.stack([alpha, sigma]).isfinite().all()
    early, late = (alpha / sigma).tolist()
    assert early > late
    assert alpha[0] >= alpha[1] and sigma[0] <= sigma[1]


@quickly
@given(schedules(), between(0, 1))
def test_a_level_leads_back_to_its_time(made, t):
    alpha, sigma = at(made, t)
    assume(min(alpha, sigma) >= SMALLEST)
    assert made.time(log_snr(alpha, sigma)).item() == pytest.approx(t, rel=1e-6, abs=1e-9)


@quickly
@given(schedules(), PREDICTIONS, between(0, 1), between(-9, 9), between(-9, 9), between(0.1, 3))
def test_conversions_are_inverse(made, kind, t, x_t, said, data):
    """What is said becomes a picture and a noise, of which x_t and what was said come again."""
    alpha, sigma = at(made, t)
    assume(min(alpha, sigma) >= SMALLEST)
    c_skip, c_out = x0_coefficients(kind, alpha, sigma, data)
    x_0 = c_skip * x_t + c_out * said
    eps = eps_from_x0(torch.tensor([x_t], dtype=torch.float64), x_0, alpha, sigma)
    a, b = target_coefficients(kind, alpha, sigma, data)
    close = {"rel": 1e-8, "abs": 1e-8}
    assert (alpha * x_0 + sigma * eps).item() == pytest.approx(x_t, **close)
    assert (a * x_0 + b * eps).item() == pytest.approx(said, **close)


@quickly
@given(schedules(), PREDICTIONS, between(0.1, 3))
def test_at_the_ends_conversions_are_finite_or_refused_by_name(made, kind, data):
    clean, noise = at(made, 0.0), at(made, 1.0)
    assert torch.stack(x0_coefficients(kind, *clean, data)).isfinite().all()
    one = torch.ones(1, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"x0 -> eps .* sigma = 0"):
        eps_from_x0(one, one, *clean)
    assert eps_from_x0(one, one, *noise).isfinite().all()
    if kind == "eps" and noise[0] == 0:
        with pytest.raises(ValueError, match=r"eps -> x0 .* alpha = 0"):
            x0_coefficients(kind, *noise, data)
    else:
        assert torch.stack(x0_coefficients(kind, *noise, data)).isfinite().all()


@cache
def config(kind):
    return validate(composed("train_unet", [f"noise={kind}"]), TrainUnet).noise


@quickly
@given(st.sampled_from(KINDS), st.booleans(), st.sampled_from(["eps", "x0", "v", "flow"]))
def test_eps_is_refused_by_the_config_where_the_snr_ends_at_zero(kind, rescaled, prediction):
    values = asdict(config(kind)) | {"prediction": prediction}
    if "zero_terminal_snr" in values:
        index = {"ddpm": "ddpm", "scaled_linear": "sd"}[kind] + "_zero" * rescaled + "_index"
        values |= {"zero_terminal_snr": rescaled, "c_noise": index}
    asked = type(config(kind))
    ends_at_zero = kind in ("flow", "cosine", "sigmoid") or (
        rescaled and "zero_terminal_snr" in values
    )
    if prediction == "eps" and ends_at_zero:
        with pytest.raises(UserError, match=f"prediction=eps .* kind={kind}"):
            validate(values, asked)
        return
    card = process_card(validate(values, asked), 64)
    options = {k: v for k, v in card.items() if k not in ("prediction", "c_noise", "sigma_data")}
    alpha, _ = at(schedule(**options), 1.0)
    assert (alpha.item() == 0) == ends_at_zero
