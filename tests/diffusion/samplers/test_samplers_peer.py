"""Samplers against diffusers' schedulers, step for step, on a nonlinear network."""

from functools import partial

import diffusers
import numpy as np
import pytest
import torch

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoiser, expand
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.samplers import (
    Bound,
    ddim,
    ddpm,
    dpm_solver,
    euler,
    euler_ancestral,
    heun,
    plms,
    unipc,
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}
predictions = pytest.mark.parametrize("prediction", PREDICTIONS)
spacings = pytest.mark.parametrize("spacing", ["leading", "trailing"])
IN_DOUBLE, IN_SINGLE = 1e-12, 2e-7
"""The distances in norm that are rounding: in single where the peer rounds its state to float32."""


def network(x, level, cond):
    return torch.tanh(0.7 * x + 0.4 * x.roll(1, -1) + expand(level, x).div(150).cos())


def normal(seed):
    numbers = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=numbers, dtype=x.dtype)


def peer_of(name, prediction, spacing="trailing", **settings):
    """A scheduler of Stable Diffusion's betas."""
    scheduler = getattr(diffusers, f"{name}Scheduler")
    kind = PREDICTIONS[prediction]
    return scheduler(**BETAS, prediction_type=kind, timestep_spacing=spacing, **settings)


def levels(peer, steps):
    """Set the peer's steps, in float64 as far as it lets us, so that steps can be compared to
    rounding; the times that it visits, and the clean picture."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    peer.alphas_cumprod = torch.tensor(np.cumprod(1 - betas))
    peer.set_timesteps(steps)
    indices = torch.unique_consecutive(peer.timesteps).double()
    if hasattr(peer, "sigmas"):
        alpha_bar = peer.alphas_cumprod[indices.long()]
        sigmas = torch.cat([((1 - alpha_bar) / alpha_bar).sqrt(), torch.zeros(1).double()])
        twice = len(peer.sigmas) > len(sigmas)  # Heun's
        inner = sigmas[1:-1].repeat_interleave(2) if twice else sigmas[1:-1]
        peer.sigmas = torch.cat([sigmas[:1], inner, sigmas[-1:]])
    return torch.cat([indices + 1, torch.zeros(1).double()]) / 1000


def compare(peer, sampler, prediction, tolerance, *, steps=10, states=None, upto=None, **settings):
    """Each of our steps from the peer's state and with equal noise: the state after it is equal,
    and the clean estimate.

    `states` names those of the peer's that end one of our steps, if it has others too; after `upto`
    steps its rules differ.
    """
    times = levels(peer, steps)
    x = normal(0)(torch.zeros(2, 3, 4, 4, dtype=torch.float64))
    denoiser = Denoiser(network, schedule("scaled_linear"), prediction, "sd_index")
    ours = sampler(Bound(denoiser, Cond()), x, times, noise=normal(1))
    theirs = list(peer_steps(peer, x, times, **settings))
    theirs = [(theirs[i][0], None) for i in states] if states else theirs
    assert len(theirs) == steps
    reached = follow(ours, theirs[:upto], tolerance)
    assert upto or reached == 0


def follow(ours, theirs, tolerance):
    """Compare each step with the peer's (state, clean estimate or None), and go on from that state,
    for a sampler's next step begins with the tensor that it has yielded; the last step's time."""
    for i, (state, estimate) in enumerate(theirs):
        step = next(ours)
        found = [(step.x, state)] + ([] if estimate is None else [(step.x_0, estimate)])
        far = [((one - other).norm() / other.norm()).item() for one, other in found]
        assert max(far) < tolerance, f"step {i}: {far}"
        step.x.copy_(state)
    return step.t


def peer_steps(peer, x, times, **settings):
    """The peer's states and clean estimates; x / alpha becomes x where the peer works in that."""
    scaled = type(peer).__name__.startswith(("Euler", "Heun"))
    alphas, _ = schedule("scaled_linear")(times)
    alpha = dict(zip((times * 1000).round().tolist(), alphas.tolist(), strict=True))
    ends = [*peer.timesteps[1:].tolist(), -1]
    y = x / alpha[peer.timesteps[0].item() + 1] if scaled else x
    for t, end in zip(peer.timesteps, ends, strict=True):
        seen = peer.scale_model_input(y, t)
        done = peer.step(network(seen.double(), t.expand(2), None), t, y, **settings)
        y = done.prev_sample.double()
        yield (alpha[round(end + 1)] * y if scaled else y), done.get("pred_original_sample")


@predictions
@spacings
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(prediction, spacing, eta):
    peer = peer_of("DDIM", prediction, spacing, clip_sample=False)
    drawn = {"eta": eta, "generator": torch.Generator().manual_seed(1)}
    compare(peer, partial(ddim, eta=eta), prediction, IN_DOUBLE, **drawn)


@predictions
@pytest.mark.parametrize(
    ("variance", "spacing"),
    # large and trailing: diffusers adds noise after the last step
    [("small", "leading"), ("small", "trailing"), ("large", "leading")],
)
def test_ddpm(prediction, variance, spacing):
    named = {"clip_sample": False, "variance_type": f"fixed_{variance}"}
    peer, drawn = peer_of("DDPM", prediction, spacing, **named), torch.Generator().manual_seed(1)
    # small and trailing: diffusers adds noise of variance 1e-20 after the last step
    tolerance = 1e-9 if (variance, spacing) == ("small", "trailing") else IN_DOUBLE
    compare(peer, partial(ddpm, variance=variance), prediction, tolerance, generator=drawn)


@predictions
def test_ddpm_with_a_learned_variance(prediction):
    """diffusers' learned_range: both interpolate by half of 1 + what the network says. Of leading
    steps alone: after the last of trailing ones it adds noise."""
    named = {"clip_sample": False, "variance_type": "learned_range"}
    peer, drawn = peer_of("DDPM", prediction, "leading", **named), torch.Generator().manual_seed(1)

    def both(x, level, cond):
        return torch.cat([network(x, level, cond), (3 * x).sin()], dim=1)

    times, x = levels(peer, 10), normal(0)(torch.zeros(2, 3, 4, 4, dtype=torch.float64))
    schedule_ = schedule("scaled_linear")
    denoiser = Denoiser(both, schedule_, prediction, "sd_index", variance="learned")
    steps = ddpm(Bound(denoiser, Cond()), x, times, noise=normal(1), variance="learned")
    for step, t in zip(steps, peer.timesteps, strict=True):
        output = both(x, t.expand(2).double(), None)
        x = peer.step(output, t, x, generator=drawn).prev_sample
        torch.testing.assert_close(step.x, x, rtol=1e-8, atol=1e-8)


@predictions
@spacings
def test_euler(prediction, spacing):
    compare(peer_of("EulerDiscrete", prediction, spacing), euler, prediction, IN_SINGLE)


@predictions
@spacings
def test_euler_ancestral(prediction, spacing):
    peer = peer_of("EulerAncestralDiscrete", prediction, spacing)
    drawn = torch.Generator().manual_seed(1)
    compare(peer, euler_ancestral, prediction, IN_SINGLE, generator=drawn)


@predictions
@spacings
def test_heun(prediction, spacing):
    peer = peer_of("HeunDiscrete", prediction, spacing)
    compare(peer, heun, prediction, IN_DOUBLE, states=[*range(1, 18, 2), 18])


@predictions
@spacings
@pytest.mark.parametrize("order", [2, 3])
def test_dpm_solver(prediction, spacing, order):
    peer = peer_of("DPMSolverMultistep", prediction, spacing, solver_order=order)
    sampler = partial(dpm_solver, order=order)
    compare(peer, sampler, prediction, IN_SINGLE, steps=20)  # with fewer its order falls earlier


@predictions
@spacings
def test_dpm_solver_sde(prediction, spacing, monkeypatch):
    module = diffusers.schedulers.scheduling_dpmsolver_multistep
    draw = normal(1)
    monkeypatch.setattr(
        module, "randn_tensor", lambda shape, **_: draw(torch.zeros(shape, dtype=torch.float64))
    )
    peer = peer_of("DPMSolverMultistep", prediction, spacing, algorithm_type="sde-dpmsolver++")
    compare(peer, partial(dpm_solver, order=2, eta=1.0), prediction, IN_SINGLE, steps=20)


@predictions
@spacings
@pytest.mark.parametrize("order", [2, 3])
def test_unipc(prediction, spacing, order):
    peer = peer_of("UniPCMultistep", prediction, spacing, solver_order=order)
    torch.set_default_dtype(torch.float64)  # its weights' last place is of the default type
    try:
        upto = None if order == 2 else 8  # it lowers the order already before the last step
        compare(peer, partial(unipc, order=order), prediction, IN_DOUBLE, upto=upto)
    finally:
        torch.set_default_dtype(torch.float32)


def test_plms():
    """Of eps alone: of v it averages the outputs of different states. But for the last step, which
    it extrapolates."""
    peer = peer_of("PNDM", "eps", skip_prk_steps=True, set_alpha_to_one=True)
    compare(peer, plms, "eps", IN_DOUBLE, states=range(1, 11), upto=9)


@pytest.mark.parametrize(
    ("name", "sampler", "states"),
    [("Euler", euler, range(10)), ("Heun", heun, [*range(1, 18, 2), 18])],
)
def test_flow_matching(name, sampler, states):
    peer = getattr(diffusers, f"FlowMatch{name}DiscreteScheduler")(shift=3.0)
    peer.set_timesteps(10)
    times = torch.unique_consecutive(peer.sigmas).double()
    x = normal(0)(torch.zeros(2, 3, 4, 4, dtype=torch.float64))
    denoiser = Denoiser(network, schedule("flow"), "flow", "flow_time")
    ours = sampler(Bound(denoiser, Cond()), x, times, noise=normal(1))
    theirs = []
    for t in peer.timesteps:
        x = peer.step(network(x, t.expand(2).double(), None), t, x).prev_sample.double()
        theirs.append((x, None))
    follow(ours, [theirs[i] for i in states], IN_SINGLE)
