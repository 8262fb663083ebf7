"""Step grids against diffusers' timesteps and Karras' formula, and what is refused."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers.schedulers import AysSchedules
from gaussian import config, grid_config

from dmtool.config.sampling import UniformGrid
from dmtool.config.validation import conf_dir
from dmtool.diffusion.noise import SCHEDULES, log_snr, schedule
from dmtool.diffusion.sampling import grid, times
from dmtool.errors import UserError

EXPLICIT = {"levels", "ays_sd15", "ays_sdxl", "gits_sd15", "gits_cifar10"}
GRIDS = sorted({path.stem for path in (conf_dir() / "sampler/grid").glob("*.yaml")} - EXPLICIT)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_falls_to_its_last_level(name, kind):
    for steps in (2, 9, 30):
        found = grid(grid_config(name), steps, schedule(kind))
        assert found.shape == (steps + 1,) and found.dtype == torch.float64
        assert 0.9 < found[0] <= 1 or name == "leading"
        assert found[-1] == 0 and (found.diff() < 0).all()


@pytest.mark.parametrize("kind", SCHEDULES)
def test_even_grids(kind):
    steps = grid(grid_config("uniform"), 8, schedule(kind))
    assert steps.tolist() == [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0]
    inner = log_snr(*schedule(kind)(grid(grid_config("log_snr"), 9, schedule(kind))[1:-1]))
    torch.testing.assert_close(inner.diff(), inner.diff().mean().expand(7))


def test_a_shifted_grid_is_the_unshifted_one_of_the_shifted_flow():
    found = grid(grid_config("uniform", "sampler.grid.shift=3"), 7, schedule("flow"))
    shifted = schedule("flow", shift=3.0)(grid(grid_config("uniform"), 7, schedule("flow")))
    torch.testing.assert_close(torch.stack(schedule("flow")(found)), torch.stack(shifted))


@pytest.mark.parametrize("steps", [5, 8, 15])
def test_a_shifted_grid_begins_with_pure_noise_whatever_the_shift(steps):
    for shift in torch.arange(1, 2001) / 100:
        config = UniformGrid(kind="uniform", shift=shift.item())
        found = grid(config, steps, schedule("flow"))
        assert found[0] == 1 and found[-1] == 0 and (found.diff() < 0).all()


def test_the_published_ays_grids_are_their_timesteps():
    """Which diffusers has as integers; the paper's levels are rounded."""
    for name, peer in (("ays_sd15", "StableDiffusion"), ("ays_sdxl", "StableDiffusionXL")):
        found = grid(grid_config(name), 10, schedule("scaled_linear"))
        indices = torch.tensor(AysSchedules[f"{peer}Timesteps"])
        assert found[0] == 1 and found[-1] == 0
        assert (found[:-1] * 1000 - 1 - indices).abs().max() < 1


@pytest.mark.parametrize("steps", [5, 10, 17])
def test_other_numbers_of_steps_are_interpolated_log_linearly(steps):
    chosen = grid_config("ays_sd15")
    found = grid(chosen, steps, schedule("scaled_linear"))
    alpha, sigma = schedule("scaled_linear")(found[:-1])
    places = np.linspace(0, 10, steps + 1)
    expected = np.exp(np.interp(places, range(11), np.log(chosen.levels)))
    assert (sigma / alpha).tolist() == pytest.approx(expected[:-1].tolist(), rel=1e-4)


@pytest.mark.parametrize("kind", ["flow", "scaled_linear", "ddpm"])
def test_explicit_levels_of_karras_are_karras(kind):
    karras = grid(grid_config("karras"), 8, schedule(kind))
    alpha, sigma = schedule(kind)(karras)
    levels = ",".join(repr(level) for level in (sigma / alpha).tolist())
    found = grid(grid_config("levels", f"sampler.grid.levels=[{levels}]"), 8, schedule(kind))
    torch.testing.assert_close(found, karras)


def test_null_is_the_noisiest_level():
    chosen = grid_config("levels", "sampler.grid.levels=[null,2,0.03]")
    assert grid(chosen, 2, schedule("flow")).tolist() == pytest.approx([1, 2 / 3, 0])
    assert grid(chosen, 4, schedule("scaled_linear"))[0] == 1
    with pytest.raises(UserError, match="has 2 steps; for 4 they are interpolated"):
        grid(chosen, 4, schedule("flow"))


def test_karras_spacing():
    words = ("sampler.grid.low=0.05", "sampler.grid.high=10", "sampler.grid.rho=5")
    found = grid(grid_config("karras", *words), 6, schedule("scaled_linear"))
    alpha, sigma = schedule("scaled_linear")(found)
    expected = [(10**0.2 + i / 5 * (0.05**0.2 - 10**0.2)) ** 5 for i in range(6)]
    assert (sigma / alpha).tolist() == pytest.approx([*expected, 0], abs=1e-9)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("offset", [0, 1])
def test_discrete_grids_are_those_of_diffusers(spacing, offset):
    peer = diffusers.DDIMScheduler(timestep_spacing=spacing, steps_offset=offset)
    words = [f"sampler.grid.offset={offset}"] if spacing == "leading" else []
    for steps in (2, 3, 7, 10, 24, 30, 50, 999):
        peer.set_timesteps(steps)
        found = grid(grid_config(spacing, *words), steps, schedule("ddpm"))
        assert (found[:-1] * 1000 - 1).round().long().tolist() == peer.timesteps.tolist()


def test_the_last_level_may_be_the_first_alpha_bar():
    """diffusers' set_alpha_to_one=False, by its own step."""
    peer = diffusers.DDIMScheduler(set_alpha_to_one=False, steps_offset=1, clip_sample=False)
    peer.set_timesteps(10)
    found = grid(grid_config("leading", "sampler.grid.last=first"), 10, schedule("ddpm"))
    alpha, _ = schedule("ddpm")(found[-1])
    assert alpha.item() ** 2 == pytest.approx(peer.final_alpha_cumprod.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["leading", "trailing"])
def test_more_steps_than_there_are_levels_are_refused(name):
    with pytest.raises(UserError, match="several of its levels lie above"):
        grid(grid_config("gits_cifar10"), 30, schedule("scaled_linear"))
    words = ["sampler.grid.offset=0"] if name == "leading" else []
    with pytest.raises(UserError, match="linspace has no 1 steps"):
        grid(grid_config("linspace"), 1, schedule("ddpm"))
    for steps, last in [(1001, "zero"), (1000, "first")]:
        chosen = grid_config(name, *words, f"sampler.grid.last={last}")
        with pytest.raises(UserError, match=f"sampler/grid={name} has no {steps} steps"):
            grid(chosen, steps, schedule("ddpm"))


def test_restarts_rise_and_fall_again():
    words = ("sampler.steps=10", "sampler.low=0.3", "sampler.high=2", "sampler.inner=2")
    found = times(config("restart", *words, "sampler.repeats=2"), schedule("flow"))
    plain = grid(grid_config("uniform"), 10, schedule("flow"))
    assert len(found) == 11 + 2 * 3 and (found.diff() > 0).sum() == 2
    place = 8  # t = 0.2: sigma / alpha = 0.25, nearest to 0.3
    assert found[: place + 1].equal(plain[: place + 1])
    assert found[place + 1 :: 3][:2].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert found[place::3][:3].tolist() == pytest.approx([0.2] * 3)
    levels = "sampler.grid.levels=[null,0.51,0.01,0]"  # the nearest to 0.45 lies above high
    words = ("sampler.low=0.45", "sampler.high=0.5", "sampler/grid=levels", levels)
    found = times(config("restart", "sampler.steps=3", *words), schedule("flow"))
    assert (found.diff() > 0).sum() == config("restart").repeats and found[2] < 0.02
    with pytest.raises(UserError, match="noisier than the first"):
        times(config("restart", "sampler.high=20"), schedule("scaled_linear"))


@pytest.mark.parametrize(
    ("kind", "words", "says"),
    [
        ("heun", ["sampler.calls=9"], "steps=15 and calls=9: set one of them"),
        ("heun", ["sampler.steps=null"], "steps=null and calls=null"),
        ("plms", ["sampler.steps=null", "sampler.calls=3"], r"needs at least 4 steps \(5 calls\)"),
        ("restart", ["sampler.steps=null", "sampler.calls=6"], r"needs at least 2 steps \(7 calls"),
        ("restart", ["sampler.low=3"], r"low=3.0 must be below high=0.5"),
        ("heun", ["sampler.grid=karras"], "say sampler/grid=karras"),
        ("heun", ["sampler/grid=levels", "sampler.grid.levels=[1,2]"], "must fall"),
        ("heun", ["sampler/grid=levels", "sampler.grid.levels=[2,null]"], "first may be null"),
        ("heun", ["sampler.eta=1"], "unknown key 'sampler.eta'"),
        ("heun", ["sampler.grid.kind=foo"], "sampler.grid.kind=foo is none of 'uniform'"),
    ],
)
def test_mistakes_are_named(kind, words, says):
    with pytest.raises(UserError, match=says):
        config(kind, *words)
