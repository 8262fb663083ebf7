"""Guidance: what it equals, and that a guided pair is one batch."""

import pytest
import torch

from dmtool.cond import Cond
from dmtool.denoise import Denoiser, eps_from_x0, expand
from dmtool.guidance import ClassifierFree
from dmtool.noise import schedule


class Network:
    """Mixes in the states, the pooled vector and an extra, and remembers the batches it saw."""

    def __init__(self):
        self.seen = []

    def __call__(self, x, level, cond):
        self.seen.append(cond)
        text = (cond.states * cond.mask[..., None]).sum((1, 2)) + cond.pooled.sum(1)
        return torch.tanh(x + expand(text, x)) + cond.extras["low"].to(x)


def cond(batch, length, seed):
    numbers = torch.Generator().manual_seed(seed)
    return Cond(
        states=torch.randn(batch, length, 2, generator=numbers),
        mask=torch.arange(length) < torch.randint(1, length + 1, (batch, 1), generator=numbers),
        pooled=torch.randn(batch, 3, generator=numbers),
    )


@pytest.fixture
def denoiser():
    return Denoiser(Network(), schedule("cosine"), "v", "flow_time")


X = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TIMES = torch.tensor([0.1, 0.4, 0.6, 0.9], dtype=torch.float64)
POSITIVE = cond(4, 5, seed=1).with_extras(low=X[:, :, :1] + 1)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_on_the_clean_picture_it_equals_guidance_on_the_noise(denoiser, scale):
    negative = cond(4, 2, seed=2)
    guided = ClassifierFree(denoiser, negative, scale)(X, TIMES, POSITIVE)
    alpha, sigma = denoiser.schedule(TIMES)

    def eps(c):
        return eps_from_x0(X, denoiser(X, TIMES, c), alpha, sigma)

    plus, minus = eps(POSITIVE), eps(negative.with_extras(**POSITIVE.extras))
    expected = (X - expand(sigma, X) * (minus + scale * (plus - minus))) / expand(alpha, X)
    torch.testing.assert_close(guided, expected, rtol=1e-9, atol=1e-9)


def test_at_scale_1_it_is_the_identity_and_it_keeps_the_schedule(denoiser):
    guided = ClassifierFree(denoiser, cond(4, 7, seed=2), 1.0)
    torch.testing.assert_close(guided(X, TIMES, POSITIVE), denoiser(X, TIMES, POSITIVE))
    assert guided.schedule is denoiser.schedule


@pytest.mark.parametrize("rows", [1, 4])
def test_both_halves_are_one_batch_with_the_same_extras(denoiser, rows):
    negative = cond(rows, 2, seed=2)
    ClassifierFree(denoiser, negative, 3.0)(X, TIMES, POSITIVE)
    (seen,) = denoiser.network.seen
    assert seen.batch == 8 and seen.states.shape == (8, 5, 2)
    torch.testing.assert_close(seen.states[4:, :2], negative.states.expand(4, -1, -1))
    assert not seen.mask[4:, 2:].any()
    for half in (seen.extras["low"][:4], seen.extras["low"][4:]):
        assert torch.equal(half, POSITIVE.extras["low"])
