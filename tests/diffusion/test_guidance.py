"""Guidance: what it equals, and that a guided pair is one batch."""

import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from diffusers.guiders.guider_utils import rescale_noise_cfg

from dmtool.cond import Cond
from dmtool.config.compose import composed
from dmtool.config.guidance import Guidance, Interval, Perturbed, Projected
from dmtool.config.using import SampleConfig
from dmtool.config.validation import validate
from dmtool.diffusion.denoise import Denoiser, eps_from_x0, expand
from dmtool.diffusion.guidance import Bad, ClassifierFree, Projection, Tally
from dmtool.diffusion.guidance.classifier_free import rescaled
from dmtool.diffusion.guiding import build
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.samplers import Bound, ddim, ddpm, last
from dmtool.errors import UserError


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
NEGATIVE = cond(4, 2, seed=2)


def settings(scale=3.0, low=0.0, high=None, rescale=0.0, bad_scale=None, pag=0.0, **projected):
    return Guidance(
        scale=scale,
        interval=Interval(low=low, high=high),
        rescale=rescale,
        projected=Projected(**{"eta": 1.0, "momentum": 0.0, "norm": None} | projected),
        perturbed=Perturbed(scale=pag, levels=[-1]),
        bad=None if bad_scale is None else "early",
        bad_scale=bad_scale,
    )


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


def test_at_scale_1_it_is_the_plain_model_bit_for_bit_and_asked_once(denoiser):
    guided = ClassifierFree(denoiser, cond(4, 7, seed=2), 1.0, rescale=0.7)
    found = guided(X, TIMES, POSITIVE)
    assert [seen.batch for seen in denoiser.network.seen] == [4]
    assert torch.equal(found, denoiser(X, TIMES, POSITIVE))
    assert guided.schedule is denoiser.schedule
    assert build(settings(scale=1.0), denoiser, Cond(), None) is denoiser


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


def test_rescaling_is_lins_and_none_at_0(denoiser):
    plain = ClassifierFree(denoiser, NEGATIVE, 7.5)(X, TIMES, POSITIVE)
    positive = denoiser(X, TIMES, POSITIVE)
    for phi in (0.0, 0.7, 1.0):
        found = build(settings(7.5, rescale=phi), denoiser, NEGATIVE, None)(X, TIMES, POSITIVE)
        torch.testing.assert_close(found, rescale_noise_cfg(plain, positive, phi))
        assert phi or torch.equal(found, plain)
    stds = [each.flatten(1).std(1) for each in (rescaled(plain, positive, 1.0), positive)]
    torch.testing.assert_close(*stds)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("momentum", "norm"), [(0.0, None), (-0.75, None), (-0.5, 0.3)])
def test_projected_guidance_is_diffusers_over_a_trajectory(denoiser, eta, momentum, norm):
    chosen = settings(5.0, eta=eta, momentum=momentum, norm=norm)
    guided, buffer = build(chosen, denoiser, NEGATIVE, None), MomentumBuffer(momentum)
    for step in range(3):
        x = X * (1 + step)
        positive = denoiser(x, TIMES, POSITIVE)
        negative = denoiser(x, TIMES, NEGATIVE.with_extras(**POSITIVE.extras))
        expected = normalized_guidance(
            positive, negative, 4.0, buffer, eta, norm or 0.0, use_original_formulation=True
        )
        torch.testing.assert_close(guided(x, TIMES, POSITIVE), expected)


def test_the_shipped_apg_bounds_the_length_of_the_guidance_as_its_paper_does(denoiser):
    chosen = validate(composed("sample", ["guidance=apg"]), SampleConfig).guidance
    assert chosen.projected == Projected(eta=0.0, momentum=-0.5, norm=2.5)
    loud = Denoiser(
        lambda *seen: 50 * denoiser.network(*seen), denoiser.schedule, "x0", "flow_time"
    )
    positive = loud(X, TIMES, POSITIVE)
    added = (build(chosen, loud, NEGATIVE, None)(X, TIMES, POSITIVE) - positive).flatten(1)
    longest = (chosen.scale - 1) * 2.5
    away = (
        (positive - loud(X, TIMES, NEGATIVE.with_extras(**POSITIVE.extras))).flatten(1).norm(dim=1)
    )
    assert away.min() > 2.5 and added.norm(dim=1).max() <= longest + 1e-9
    torch.testing.assert_close((added * positive.flatten(1)).sum(1), torch.zeros(4).double())


def test_projected_guidance_of_nothing_is_classifier_free_guidance(denoiser):
    plain = ClassifierFree(denoiser, NEGATIVE, 5.0)
    bent = ClassifierFree(denoiser, NEGATIVE, 5.0, Projection(1.0, 0.0, None))
    for x in (X, -X):
        expected = plain(x, TIMES, POSITIVE)
        torch.testing.assert_close(bent(x, TIMES, POSITIVE), expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(build(settings(5.0), denoiser, NEGATIVE, None)(x, TIMES, POSITIVE),
                           expected)  # fmt: skip


def test_outside_the_interval_there_is_no_second_evaluation(denoiser):
    """t of the cosine schedule is 2 atan(sigma / alpha) / pi."""
    guided = build(settings(3.0, low=1.0, high=2.0), denoiser, NEGATIVE, None)
    full = ClassifierFree(denoiser, NEGATIVE, 3.0)
    for t, inside in [(0.3, False), (0.4999, False), (0.5001, True), (0.7, True), (0.71, False)]:
        times = torch.full((4,), t, dtype=torch.float64)
        expected = (full if inside else denoiser)(X, times, POSITIVE)
        denoiser.network.seen.clear()
        assert torch.equal(guided(X, times, POSITIVE), expected)
        assert [seen.batch for seen in denoiser.network.seen] == [8 if inside else 4]
    with pytest.raises(ValueError, match="some rows"):
        guided(X, TIMES, POSITIVE)
    unbounded = build(settings(3.0), denoiser, NEGATIVE, None)
    ends = torch.ones(4, dtype=torch.float64)  # alpha is 0
    assert torch.equal(unbounded(X, ends, POSITIVE), full(X, ends, POSITIVE))


def test_autoguidance_leads_away_from_the_bad_model_and_composes(denoiser):
    bad = Denoiser(lambda x, level, c: 0.1 * x + expand(c.pooled.sum(1), x), schedule("cosine"),
                   "x0", "flow_time")  # fmt: skip
    theirs = cond(4, 3, seed=5)
    good, worse = denoiser(X, TIMES, POSITIVE), bad(X, TIMES, theirs)
    found = build(settings(1.0, bad_scale=2.0), denoiser, Cond(), Bad(bad, theirs))
    torch.testing.assert_close(found(X, TIMES, POSITIVE), 2 * good - worse)
    both = build(settings(3.0, bad_scale=2.0), denoiser, NEGATIVE, Bad(bad, theirs))
    free = ClassifierFree(denoiser, NEGATIVE, 3.0)(X, TIMES, POSITIVE)
    torch.testing.assert_close(both(X, TIMES, POSITIVE), 2 * free - worse)


@pytest.mark.parametrize("rows", [1, 4])
def test_perturbed_attention_adds_its_difference_to_classifier_free_guidance(denoiser, rows):
    """As diffusers' pipelines add them; of the interval's outside nothing is evaluated."""
    negative = cond(rows, 2, seed=2)
    worse = Denoiser(lambda x, level, c: 0.3 * x + expand(c.pooled.sum(1), x),
                     schedule("cosine"), "v", "flow_time")  # fmt: skip
    both = negative if rows == 4 else negative.repeat_interleave(4)
    plus = denoiser(X, TIMES, POSITIVE)
    minus = denoiser(X, TIMES, both.with_extras(**POSITIVE.extras))
    away = plus - worse(X, TIMES, POSITIVE)
    for scale, s in [(1.0, 2.0), (4.0, 3.0), (0.0, 0.5)]:
        found = build(settings(scale, pag=s), denoiser, negative, None, worse)(X, TIMES, POSITIVE)
        torch.testing.assert_close(found, plus + (scale - 1) * (plus - minus) + s * away)
    bent = build(settings(4.0, pag=3.0, eta=0.0), denoiser, negative, None, worse)
    free = build(settings(4.0, eta=0.0), denoiser, negative, None)
    torch.testing.assert_close(bent(X, TIMES, POSITIVE), free(X, TIMES, POSITIVE) + 3 * away)
    without = [build(settings(4.0), denoiser, negative, None, model) for model in (worse, None)]
    outside = build(settings(4.0, low=9.0, pag=3.0), denoiser, negative, None, worse)
    assert torch.equal(*(each(X, TIMES, POSITIVE) for each in without))
    half = torch.full((4,), 0.5, dtype=torch.float64)
    assert torch.equal(outside(X, half, POSITIVE), denoiser(X, half, POSITIVE))
    assert build(settings(1.0), denoiser, Cond(), None, worse) is denoiser


@pytest.mark.parametrize(
    ("chosen", "evaluations"),
    [
        (settings(1.0), 10),
        (settings(3.0), 20),
        (settings(3.0, low=1.0), 15),  # t of 1, 0.9, ..., 0.1; guided above 0.5
        (settings(3.0, low=1.0, bad_scale=2.0), 20),
        (settings(1.0, bad_scale=2.0), 20),
        (settings(1.0, pag=3.0), 20),
        (settings(3.0, low=1.0, pag=3.0), 20),
    ],
)
def test_evaluations_are_counted_on_a_model_that_costs_nothing(chosen, evaluations):
    tally = Tally(schedule("cosine"))
    bad = Bad(tally, Cond()) if chosen.bad else None
    bound = Bound(build(chosen, tally, Cond(), bad, tally), Cond())
    times = torch.linspace(1, 0, 11, dtype=torch.float64)
    times[5] = 0.4999999  # just below the bound
    last(ddim(bound, torch.zeros(1, 2), times, noise=torch.zeros_like, eta=0.0))
    assert (bound.calls, tally.evaluations) == (10, evaluations)


def test_a_learned_variance_is_that_of_the_conditional_model():
    def both(x, level, c):
        text = expand((c.states * c.mask[..., None]).sum((1, 2)), x)
        return torch.cat([x + text, (x + text).sin()], dim=1)

    plain = Denoiser(both, schedule("cosine"), "v", "flow_time", variance="learned")
    x_0, fraction = plain.estimate(X, TIMES, POSITIVE)
    assert fraction.shape == x_0.shape == X.shape
    chosen = settings(3.0, rescale=0.5, bad_scale=2.0, eta=0.0)
    guided = build(chosen, plain, NEGATIVE, Bad(Tally(plain.schedule), Cond()))
    found = guided.estimate(X, TIMES, POSITIVE)
    torch.testing.assert_close(found.fraction, fraction)
    assert torch.equal(found.x_0, guided(X, TIMES, POSITIVE)) and not torch.equal(found.x_0, x_0)
    with pytest.raises(UserError, match="noise/variance=learned in training"):
        fixed = Bound(Gaussian(), POSITIVE)
        last(ddpm(fixed, X, TIMES.flip(0), noise=torch.zeros_like, variance="learned"))


class Gaussian:
    """E[x_0 | x_t] of normal data of deviation 0.5 about a mean that the condition tells."""

    schedule = schedule("flow")

    def __call__(self, x_t, t, c):
        alpha, sigma = (expand(each, x_t) for each in self.schedule(t))
        mean, variance = expand(c.pooled[:, 0], x_t), alpha**2 / 4 + sigma**2
        return mean + alpha / 4 / variance * (x_t - alpha * mean)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_between_two_gaussians_guidance_samples_the_gaussian_it_extrapolates_to(scale):
    """p_+^w p_-^(1 - w) of equal variances is normal about w m_+ + (1 - w) m_-."""
    means = [Cond(pooled=torch.full((3, 1), m, dtype=torch.float64)) for m in (0.7, -0.4)]
    guided = build(settings(scale), Gaussian(), means[1], None)
    z = torch.tensor([[-2.0], [0.0], [1.5]], dtype=torch.float64)
    times = torch.linspace(1, 0, 2001, dtype=torch.float64)
    found = last(ddim(Bound(guided, means[0]), z, times, noise=torch.zeros_like, eta=0.0))
    expected = scale * 0.7 + (1 - scale) * -0.4 + 0.5 * z
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
