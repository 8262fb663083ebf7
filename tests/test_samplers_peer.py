"""Samplers against diffusers' schedulers, step for step, on a nonlinear network."""

from functools import partial

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from dmtool.cond import Cond
from dmtool.denoise import Denoiser, expand
from dmtool.noise import schedule
from dmtool.samplers import Bound, ddim, ddpm, dpmpp_2m

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}
predictions = pytest.mark.parametrize("prediction", PREDICTIONS)
spacings = pytest.mark.parametrize("spacing", ["leading", "trailing"])


def network(x, level, cond):
    return torch.tanh(0.7 * x + 0.4 * x.roll(1, -1) + expand(level, x).div(150).cos())


def normal(seed):
    numbers = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=numbers, dtype=x.dtype)


def exactly(scheduler):
    """With alphas-bar in float64, so that steps can be compared to rounding."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    scheduler.alphas_cumprod = torch.tensor(np.cumprod(1 - betas))
    return scheduler


def compare(scheduler, sampler, prediction, tolerance, **settings):
    """Both from one start and with equal noise; every state and every clean estimate is equal."""
    scheduler.set_timesteps(10)
    x = normal(0)(torch.zeros(2, 3, 4, 4, dtype=torch.float64))
    times = torch.tensor([*(scheduler.timesteps + 1), 0], dtype=torch.float64) / 1000
    denoiser = Denoiser(network, schedule("scaled_linear"), prediction, "sd_index")
    ours = sampler(Bound(denoiser, Cond()), x, times, noise=normal(1))
    settings |= {"generator": torch.Generator().manual_seed(1)}
    for index, (step, t) in enumerate(zip(ours, scheduler.timesteps, strict=True)):
        output = network(x, t.expand(2), None)
        theirs = scheduler.step(output, t, x, **settings)
        x = theirs.prev_sample
        torch.testing.assert_close(step.x, x, rtol=tolerance, atol=tolerance, msg=f"step {index}")
        if "pred_original_sample" in theirs:
            estimate = theirs.pred_original_sample
            torch.testing.assert_close(step.x_0, estimate, rtol=tolerance, atol=tolerance)
    assert index == 9 and step.t == 0 and x.std() > 0.1


@predictions
@spacings
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(prediction, spacing, eta):
    peer = DDIMScheduler(
        **BETAS, clip_sample=False, timestep_spacing=spacing,
        prediction_type=PREDICTIONS[prediction],
    )  # fmt: skip
    compare(exactly(peer), partial(ddim, eta=eta), prediction, 1e-10, eta=eta)


@predictions
@pytest.mark.parametrize(
    ("variance", "spacing"),
    # large and trailing: diffusers adds noise after the last step
    [("small", "leading"), ("small", "trailing"), ("large", "leading")],
)
def test_ddpm(prediction, variance, spacing):
    peer = DDPMScheduler(
        **BETAS, clip_sample=False, variance_type=f"fixed_{variance}", timestep_spacing=spacing,
        prediction_type=PREDICTIONS[prediction],
    )  # fmt: skip
    compare(exactly(peer), partial(ddpm, variance=variance), prediction, 1e-8)


@predictions
@spacings
def test_dpm_solver(prediction, spacing):
    peer = DPMSolverMultistepScheduler(
        **BETAS, final_sigmas_type="zero", timestep_spacing=spacing,
        prediction_type=PREDICTIONS[prediction],
    )  # fmt: skip
    compare(exactly(peer), dpmpp_2m, prediction, 1e-5)  # its levels are float32
