"""Pictures that are given: what trajectories begin with, keep, and paint around it."""

import math

import pytest
import torch
from exact import Between
from gaussian import MEAN, Gaussian, config

from dmtool.cond import Cond
from dmtool.diffusion.denoise import Denoiser, expand
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.samplers import Bound, Known, last, resampled
from dmtool.diffusion.samplers.renoise import renoising
from dmtool.diffusion.sampling import build, times, trajectory
from dmtool.errors import UserError

CPU = torch.device("cpu")
KEYS = [(0, 0), (0, 1), (3, 0)]
SAMPLERS = ["euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "plms", "ddpm", "edm"]
X_0 = torch.linspace(-1, 1, 8).reshape(1, 2, 4)


def network(x, level, cond):
    return torch.tanh(x.roll(1, -1) + expand(level / 300, x).cos())


def steps(kind, given=None, noise="flow", count=8):
    denoiser = Denoiser(network, schedule(noise), "v", "flow_time")
    chosen = config(kind, f"sampler.steps={count}")
    return list(trajectory(denoiser, Cond(), (2, 4), KEYS, chosen, "test", CPU, given))


@pytest.mark.parametrize("noise", ["flow", "scaled_linear"])
@pytest.mark.parametrize("kind", SAMPLERS)
def test_strength_one_and_a_white_mask_are_plain_sampling(kind, noise):
    plain = steps(kind, noise=noise)
    white = torch.ones(1, 1, 4, dtype=torch.bool)
    for given in (Known(X_0), Known(X_0, paint=white)):
        for one, other in zip(plain, steps(kind, given, noise), strict=True):
            assert one.t == other.t and torch.equal(one.x, other.x)


def test_the_last_steps_are_walked_from_the_noised_picture():
    for strength, walked in ((0.5, 4), (0.99, 8), (0.8, 6), (0.01, 1)):
        begun, *after = steps("heun", Known(X_0, strength))
        assert (len(after), begun.t) == (walked, walked / 8)
        eps = (begun.x - (1 - begun.t) * X_0) / begun.t
        torch.testing.assert_close(eps, steps("heun")[0].x, rtol=1e-4, atol=1e-4)


def test_the_smaller_the_strength_the_nearer_the_picture():
    denoiser, x_0 = Gaussian("flow"), torch.full((1, 400), MEAN + 1.5)
    chosen = config("heun", "sampler.steps=100")

    def distance(strength):
        given = Known(x_0, strength)
        path = trajectory(denoiser, Cond(), (400,), KEYS, chosen, "test", CPU, given)
        return (last(path) - x_0).square().mean().sqrt().item()

    distances = [distance(strength) for strength in (0.02, 0.2, 0.5, 0.8, 1.0)]
    assert distances == sorted(distances) and distances[0] < 0.05
    assert distances[-1] == pytest.approx(math.hypot(1.5, 0.5), rel=0.05)  # data's own


@pytest.mark.parametrize("noise", ["flow", "scaled_linear"])
@pytest.mark.parametrize("kind", SAMPLERS)
def test_what_is_known_stays_on_the_forward_process(kind, noise):
    """Its noise has variance 1 at every step, under deterministic samplers it is the first one."""
    paint = (torch.arange(4) < 2)[None, None]
    for strength in (1.0, 0.6):
        path = steps(kind, Known(X_0, strength, paint), noise)
        known = ~paint.expand(3, 2, 4)
        end = X_0.expand(3, 2, 4)[known]
        torch.testing.assert_close(path[-1].x[known], end, rtol=0, atol=1e-6)
        found = []
        for step in path[:-1]:
            alpha, sigma = schedule(noise)(torch.tensor(step.t, dtype=torch.float64))
            found.append(((step.x - alpha * X_0) / sigma)[known])
        if kind in ("euler", "heun", "dpmpp_2m", "unipc", "plms"):
            for eps in found:
                torch.testing.assert_close(eps.float(), found[0].float(), rtol=0, atol=2e-4)
        else:
            assert 0.7 < torch.stack(found).square().mean().sqrt() < 1.3


def test_resampling_walks_each_stretch_again():
    falling = torch.tensor([1.0, 0.9, 0.7, 0.4, 0.2, 0.0])
    low, high = [0.4, 0.2, 0.0], [0.9, 0.7, 0.4]
    expected = [1.0, 0.9, *high[1:], *high, *high, *low[1:], *low, *low]
    assert resampled(falling, 2, 3).tolist() == torch.tensor(expected).tolist()
    for same in ((2, 1), (5, 4), (9, 4)):
        assert torch.equal(resampled(falling, *same), falling)


def test_a_jump_is_at_most_half_of_the_way():
    chosen, x_0 = config("heun", "sampler.steps=5"), torch.zeros(1)
    long, half = (
        times(chosen, schedule("flow"), Known(x_0, repeats=3, jump=jump)) for jump in (9, 2)
    )
    assert torch.equal(long, half) and (half.diff() > 0).any()


def test_the_churn_of_a_part_of_the_way_is_that_of_the_whole():
    words = ("sampler.steps=20", "sampler.s_churn=2", "sampler.s_tmin=0", "sampler.s_tmax=100")
    chosen, bound = config("edm", *words), Bound(Gaussian("flow"), Cond())
    start, numbers, draws = torch.ones(1, 4).double(), torch.Generator().manual_seed(0), []

    def noise(x):
        draws.append(torch.randn(x.shape, generator=numbers, dtype=x.dtype))
        return draws[-1]

    *path, end = build(chosen)(bound, start, times(chosen, schedule("flow")), noise=noise)
    tail, rest = times(chosen, schedule("flow"), Known(start, 0.3)), iter(draws[-6:])
    assert path[-6].t == tail[0]
    again = build(chosen)(bound, path[-6].x, tail, noise=lambda x: next(rest))
    torch.testing.assert_close(last(again), end.x)


def test_a_learned_variance_is_heard_where_something_is_painted():
    chosen = config("ddpm", "sampler.variance=learned", "sampler.steps=6")
    half = torch.tensor([False, True]).expand(1, 2, 2)

    def sampled(fraction, given=None):
        learned = Between(Gaussian("flow"), fraction)
        return last(trajectory(learned, Cond(), (2, 2), KEYS, chosen, "test", CPU, given))

    low, high = (sampled(share, Known(torch.ones(1, 2, 2), paint=half)) for share in (0.0, 1.0))
    assert (low[..., 0] == 1).all() and (low[..., 1] != high[..., 1]).all()
    white = Known(torch.ones(1, 2, 2), paint=torch.ones_like(half))
    assert torch.equal(sampled(0.3, white), sampled(0.3))


CORRELATION, KNOWN = 0.8, 1.5


class Pair:
    """E[x_0 | x_t] of two standard normal values of this correlation."""

    schedule = schedule("flow")

    def __call__(self, x_t, t, cond=None):
        alpha, sigma = self.schedule(t[0].double())
        covariance = torch.tensor([[1, CORRELATION], [CORRELATION, 1]], dtype=torch.float64)
        noisy = alpha**2 * covariance + sigma**2 * torch.eye(2, dtype=torch.float64)
        return x_t @ (alpha * covariance @ torch.linalg.inv(noisy)).T


def painted(kind, repeats, jump, count, rows=20000):
    """Mean and deviation of the second value, painted where the first is known."""
    numbers = torch.Generator().manual_seed(0)

    def noise(x):
        return torch.randn(x.shape, generator=numbers, dtype=torch.float64)

    chosen = config(kind, f"sampler.steps={count}")
    known = torch.tensor([[KNOWN, 0.0]], dtype=torch.float64)
    given = Known(known, 1.0, torch.tensor([[False, True]]), repeats, jump)
    bound = Bound(given.kept(Pair()), Cond())
    visited, start = times(chosen, Pair.schedule, given), noise(torch.zeros(rows, 2))
    x = last(renoising(build(chosen))(bound, start, visited, noise=noise))
    assert torch.equal(x[:, 0], known[:, 0].expand(rows))
    return x[:, 1].mean().item(), x[:, 1].std().item()


@pytest.mark.parametrize(
    ("kind", "jump", "count"), [("heun", 3, 15), ("dpmpp_2m", 3, 20), ("ddpm", 10, 100)]
)
def test_with_resampling_what_is_painted_approaches_its_conditional(kind, jump, count):
    mean, std = CORRELATION * KNOWN, math.sqrt(1 - CORRELATION**2)
    found = [painted(kind, repeats, jump, count) for repeats in (1, 4, 16)]
    biases = [mean - each for each, _ in found]
    assert biases[0] > 2 * biases[1] > 4 * biases[2] > 0 and biases[2] < 0.13
    assert abs(found[2][1] - std) < 0.05 < 0.1 < abs(found[0][1] - std)


def test_finely_resampled_it_is_its_conditional():
    found = painted("heun", 40, 10, 100, rows=10000)
    expected = CORRELATION * KNOWN, math.sqrt(1 - CORRELATION**2)
    assert found == pytest.approx(expected, abs=0.03)


def test_restarts_go_back_by_themselves():
    given = Known(X_0, paint=torch.zeros(1, 1, 4, dtype=torch.bool), repeats=2, jump=2)
    with pytest.raises(UserError, match=r"edit\.inpaint\.repeats=1"):
        steps("restart", given)
    assert torch.equal(steps("restart", Known(X_0, paint=given.paint))[-1].x, X_0.expand(3, 2, 4))
    with pytest.raises(UserError, match="lower it"):
        steps("restart", Known(X_0, 0.1))
    with pytest.raises(UserError, match="take more steps"):
        steps("restart", Known(X_0, 0.5), count=2)
