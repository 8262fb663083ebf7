"""Thresholds of the estimate of the clean picture: what they compute, and where they are."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from exact import Between, Mixture
from gaussian import config

from dmtool.cond import Cond
from dmtool.config.validation import conf_dir
from dmtool.diffusion.guidance.threshold import quantile
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.samplers import Bound, ddpm, last
from dmtool.diffusion.sampling import build, settled, thresholded, times
from dmtool.errors import UserError

KINDS = sorted(path.stem for path in (conf_dir() / "sampler").glob("[a-z]*.yaml"))
X = 1.5 * torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
T = torch.full((3,), 0.5, dtype=torch.float64)


class Saying:
    """Estimates what it is given."""

    schedule = schedule("flow")

    def __call__(self, x_t, t, cond):
        return x_t


def estimate(x, *words):
    return thresholded(Saying(), config("heun", *words))(x, T, Cond())


def test_static_is_clipping_and_none_is_nothing():
    assert torch.equal(estimate(X, "sampler/threshold=static"), X.clamp(-1, 1))
    assert torch.equal(estimate(X, "sampler/threshold=none"), X)


@pytest.mark.parametrize(
    ("percentile", "bound"), [(99.5, None), (90, None), (100, None), (90, 1.5), (95, 1.0)]
)
def test_dynamic_is_imagens_as_diffusers_has_it(percentile, bound):
    """Picture by picture; a bound of 1 is static."""
    words = [f"sampler.threshold.percentile={percentile}"]
    words += [f"sampler.threshold.bound={bound}"] if bound else []
    peer = DDPMScheduler(
        thresholding=True, dynamic_thresholding_ratio=percentile / 100, sample_max_value=bound or 99
    )
    found = estimate(X, "sampler/threshold=dynamic", *words)
    torch.testing.assert_close(found, peer._threshold_sample(X.clone()))
    assert found.abs().max() <= 1
    inside = X / 9  # nothing is divided by less than 1
    assert torch.equal(estimate(inside, "sampler/threshold=dynamic"), inside)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.995, 1.0])
@pytest.mark.parametrize("n", [1, 2, 100])
def test_quantiles_are_numpys(share, n):
    rows = torch.randn(4, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = np.quantile(rows.numpy(), share, axis=1)
    torch.testing.assert_close(quantile(rows, share), torch.from_numpy(expected))


def test_auto_is_static_for_pictures_and_none_for_latents():
    auto = config("heun")
    assert settled(auto, pictures=True) == config("heun", "sampler/threshold=static")
    assert settled(auto, pictures=False) == config("heun", "sampler/threshold=none")
    for kind in ("none", "static", "dynamic"):
        chosen = config("heun", f"sampler/threshold={kind}")
        assert settled(chosen, pictures=True) == chosen
        if kind == "none":
            assert settled(chosen, pictures=False) == chosen
        else:
            with pytest.raises(UserError, match=f"threshold={kind} is for pictures"):
                settled(chosen, pictures=False)


@pytest.mark.parametrize("kind", ["static", "dynamic"])
@pytest.mark.parametrize("sampler", KINDS)
def test_with_every_sampler_pictures_stay_in_their_range(sampler, kind):
    """A denoiser that says twice as much as it should, as high guidance does."""
    truth = Mixture("flow")

    class Loud:
        schedule = truth.schedule

        def __call__(self, x_t, t, cond):
            return 4 * truth(x_t, t, cond)

    chosen = config(sampler, "sampler.steps=8", f"sampler/threshold={kind}")
    z = torch.randn(4, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def painted(denoiser):
        visited = times(chosen, denoiser.schedule)
        noise = torch.Generator().manual_seed(3)
        drawn = lambda x: torch.randn(x.shape, generator=noise, dtype=x.dtype)  # noqa: E731
        return last(build(chosen)(Bound(denoiser, Cond()), z, visited, noise=drawn))

    assert painted(Loud()).abs().max() > 1.5
    assert painted(thresholded(Loud(), chosen)).abs().max() <= 1 + 1e-9


def test_a_learned_variance_passes_through():
    learned = Between(Mixture("cosine"), 0.3)
    wrapped = thresholded(learned, config("heun", "sampler/threshold=dynamic"))
    assert torch.equal(wrapped.estimate(X, T, Cond()).fraction, learned.estimate(X, T, Cond())[1])
    assert wrapped.schedule is learned.schedule
    visited = torch.linspace(1, 0, 5, dtype=torch.float64)
    found = last(ddpm(Bound(wrapped, Cond()), X, visited, noise=torch.ones_like,
                      variance="learned"))  # fmt: skip
    assert found.isfinite().all()
