"""The upsampler's conditioning, and what its network is given."""

from dataclasses import replace

import pytest
import torch

from dmtool.config.sampling import EulerSampler, UniformGrid
from dmtool.config.threshold import AutoThreshold, NoThreshold, StaticThreshold
from dmtool.diffusion.denoise import Denoiser
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.samplers import picture_noise
from dmtool.text.encoder import NoTextEncoder
from dmtool.upsamplers.diffusion import DiffusionUpsampler, augmented
from dmtool.upsamplers.upsampler import enlarge

KEYS = [(0, 0), (0, 1), (5, 0)]
SETTINGS = EulerSampler(
    kind="euler", steps=4, calls=None, grid=UniformGrid(kind="uniform", shift=1.0),
    threshold=NoThreshold(kind="none"),
)  # fmt: skip


class Network:
    """Predicts the low-resolution picture itself, and remembers what it was told."""

    def __init__(self):
        self.extras = []

    def __call__(self, x, level, cond):
        self.extras.append(cond.extras)
        return cond.extras["low_res"]


def small(batch=3):
    numbers = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, 4, 6, generator=numbers) * 2 - 1


def upsampler(level, factor=2):
    denoiser = Denoiser(Network(), schedule("flow"), "x0", "flow_time")
    return DiffusionUpsampler(denoiser, NoTextEncoder(), factor, level, SETTINGS)


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarging_keeps_range_and_constants(factor):
    flat = enlarge(torch.full((1, 3, 4, 6), -0.25), factor)
    torch.testing.assert_close(flat, torch.full((1, 3, 4 * factor, 6 * factor), -0.25))
    edges = torch.tensor([-1.0, 1.0]).repeat(3)[None, None, None].expand(1, 3, 4, 6)
    assert enlarge(edges, factor).min() == -1 and enlarge(edges, factor).max() == 1
    ramp = torch.linspace(-0.9, 0.9, 6)[None, None, None].expand(1, 3, 4, 6)
    inside = slice(2 * factor, -2 * factor)
    centres = (torch.arange(6 * factor) + 0.5) / factor - 0.5  # of the large pixels, in small ones
    expected = (-0.9 + 0.36 * centres)[inside]
    torch.testing.assert_close(enlarge(ramp, factor)[0, 0, 0, inside], expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["flow", "cosine", "scaled_linear"])
def test_augmentation_is_the_schedules_own_noise(kind):
    denoiser = Denoiser(Network(), schedule(kind), "v", "flow_time")
    low, eps = torch.full((3, 3, 40, 40), 0.5), torch.randn(3, 3, 40, 40)
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    given = augmented(denoiser, low, eps, t)
    alpha, sigma = schedule(kind)(t)
    assert torch.equal(given["low_res"][0], low[0]) and given["low_res_level"][0] == 0
    mean, std = given["low_res"].mean((1, 2, 3)), given["low_res"].std((1, 2, 3))
    torch.testing.assert_close(mean, (alpha * 0.5).float(), rtol=0, atol=0.06)
    torch.testing.assert_close(std, sigma.float(), rtol=0.05, atol=0.0)
    heard = 1000 * sigma / (alpha + sigma)
    torch.testing.assert_close(given["low_res_level"], heard.float())


@pytest.mark.parametrize("factor", [2, 4])
def test_it_paints_at_the_large_size_and_without_noise_trusts_its_input(factor):
    large = upsampler(0.0, factor)(small(), [""] * 3, KEYS)
    assert large.shape == (3, 3, 4 * factor, 6 * factor)
    torch.testing.assert_close(large, enlarge(small(), factor), rtol=0, atol=1e-6)


def test_the_augmentation_has_a_seed_a_picture_and_one_draw_for_all_steps():
    chain = upsampler(0.4)
    together = chain(small(), [""] * 3, KEYS)
    seen = chain.denoiser.network.extras
    assert len(seen) == 4 and all(torch.equal(e["low_res"], seen[0]["low_res"]) for e in seen)
    torch.testing.assert_close(seen[0]["low_res_level"], torch.full((3,), 400.0))
    for i, key in enumerate(KEYS):
        alone = chain(small()[i : i + 1], [""], [key])
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-6)
    same = chain(small()[:1].expand(2, -1, -1, -1), ["", ""], KEYS[:2])
    assert (same[0] - same[1]).abs().max() > 0.1


def test_its_estimates_are_those_of_pictures_unless_told_otherwise():
    """A network that is loud in the first of two steps, and repeats what it sees in the second."""

    def network(x, level, cond):
        return 5 * cond.extras["low_res"] if level[0] > 700 else x

    def made(threshold):
        denoiser = Denoiser(network, schedule("flow"), "x0", "flow_time")
        settings = replace(SETTINGS, steps=2, threshold=threshold)
        chain = DiffusionUpsampler(denoiser, NoTextEncoder(), 2, 0.0, settings)
        return chain(small(), [""] * 3, KEYS)

    assert torch.equal(made(AutoThreshold(kind="auto")), made(StaticThreshold(kind="static")))
    eps = picture_noise(KEYS, "upsample")(torch.zeros(3, 3, 8, 12))
    for threshold, x_0 in (
        (StaticThreshold(kind="static"), (5 * enlarge(small(), 2)).clamp(-1, 1)),
        (NoThreshold(kind="none"), 5 * enlarge(small(), 2)),
    ):
        torch.testing.assert_close(made(threshold), ((x_0 + eps) / 2).clamp(-1, 1))
