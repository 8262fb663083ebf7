"""What all samplers have in common: calls, ends, rising times, one picture's noise."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from exact import Mixture
from gaussian import MEAN, STD, Gaussian, config, no_noise

from dmtool.cond import Cond
from dmtool.config.validation import conf_dir
from dmtool.diffusion.denoise import Denoiser, expand
from dmtool.diffusion.noise import SCHEDULES, schedule
from dmtool.diffusion.samplers import (
    Bound,
    PictureNoise,
    ddim,
    ddpm,
    edm,
    euler,
    heun,
    last,
    restart,
    unipc,
)
from dmtool.diffusion.sampling import build, times, trajectory

CPU = torch.device("cpu")
KINDS = sorted(path.stem for path in (conf_dir() / "sampler").glob("[a-z]*.yaml"))
KEYS = [(0, 0), (0, 1)]


def normal(seed):
    numbers = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=numbers, dtype=x.dtype)


def network(x, level, cond):
    return torch.tanh(x.roll(1, -1) + expand(level / 300, x).cos())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [("sampler.steps=7",), ("sampler.steps=null", "sampler.calls=9")])
@pytest.mark.parametrize("spacing", ["uniform", "trailing"])
def test_calls_are_counted_right(kind, words, spacing):
    last_level = ["sampler.grid.last=first"] if spacing == "trailing" else []
    inner = ["sampler.inner=1"] if kind == "restart" else []
    chosen = config(kind, *words, f"sampler/grid={spacing}", *last_level, *inner)
    bound = Bound(Gaussian("flow"), Cond())
    visited = times(chosen, bound.schedule)
    states = list(build(chosen)(bound, torch.zeros(1, 2), visited, noise=normal(0)))
    assert [state.t for state in states] == visited[1:].tolist()
    assert bound.calls == chosen.calls_made <= (chosen.calls or 100)
    one_more = chosen.cost(chosen.intervals + 1)
    assert chosen.calls is None or one_more > chosen.calls


@pytest.mark.parametrize("kind", ["flow", "cosine"])
@pytest.mark.parametrize("prediction", ["x0", "v", "flow"])
@pytest.mark.parametrize("sampler", KINDS)
def test_every_sampler_is_finite_from_pure_noise(sampler, kind, prediction):
    denoiser = Denoiser(network, schedule(kind), prediction, "flow_time")
    for steps, spacing in [(4, "uniform"), (5, "log_snr"), (4, "trailing")]:
        chosen = config(sampler, f"sampler.steps={steps}", f"sampler/grid={spacing}")
        for step in trajectory(denoiser, Cond(), (2, 3), KEYS, chosen, "test", CPU):
            assert step.x.isfinite().all() and step.x_0.isfinite().all()
            assert step.x.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "spacing"),
    [("flow", "uniform"), ("flow", "karras"), ("cosine", "uniform"), ("scaled_linear", "trailing")],
)
@pytest.mark.parametrize("sampler", KINDS)
def test_every_prediction_of_one_function_gives_one_trajectory(sampler, kind, spacing):
    """A network of each prediction type that says the same of x_0; `uniform` begins at alpha = 0,
    where eps says nothing."""
    clean, data = Mixture(kind), 0.5
    chosen = config(sampler, "sampler.steps=8", f"sampler/grid={spacing}")
    visited = times(chosen, clean.schedule)

    def saying(prediction):
        def answer(x, level, cond):
            u = level / 1000  # sigma / (alpha + sigma)
            t = clean.schedule.time(2 * ((1 - u) / u).log())
            alpha, sigma = (expand(each, x) for each in clean.schedule(t))
            deviation = torch.hypot(alpha * data, sigma)
            x_t = deviation * x if prediction == "edm" else x
            x_0 = (2 * clean(x_t, t, cond)).sin()
            eps = (x_t - alpha * x_0) / sigma
            return {
                "x0": x_0,
                "eps": eps,
                "v": alpha * eps - sigma * x_0,
                "flow": eps - x_0,
                "edm": (sigma / data * x_0 - alpha * data * eps) / deviation,
            }[prediction]

        scaled = data if prediction == "edm" else None
        denoiser = Denoiser(answer, clean.schedule, prediction, "flow_time", scaled)
        x = normal(3)(torch.zeros(2, 3, dtype=torch.float64))
        return last(build(chosen)(Bound(denoiser, Cond()), x, visited, noise=normal(0)))

    expected = saying("x0")
    for prediction in ("v", "flow", "edm", *(["eps"] if spacing != "uniform" else [])):
        torch.testing.assert_close(saying(prediction), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "dpmpp_3m", "unipc", "plms"])
@pytest.mark.parametrize("spacing", ["uniform", "karras"])
def test_deterministic_samplers_reach_the_data(sampler, spacing, kind):
    denoiser, z = Gaussian(kind), torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(3, 3)
    visited = times(config(sampler, "sampler.steps=400", f"sampler/grid={spacing}"), schedule(kind))
    bound, start = Bound(denoiser, Cond()), denoiser.state(z, visited[0])
    found = last(build(config(sampler))(bound, start, visited, noise=no_noise))
    torch.testing.assert_close(found, MEAN + STD * z, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["flow", "cosine", "scaled_linear"])
@pytest.mark.parametrize("sampler", KINDS)
def test_the_clean_picture_is_the_last_estimate(sampler, kind):
    """No sampler extrapolates into sigma = 0, where its estimates of several steps mean little."""
    chosen, denoiser = config(sampler, "sampler.steps=6", "sampler/grid=trailing"), Mixture(kind)
    bound, visited = Bound(denoiser, Cond()), times(chosen, denoiser.schedule)
    x = normal(3)(torch.zeros(2, 3, dtype=torch.float64))
    *_, end = build(chosen)(bound, x, visited, noise=normal(0))
    torch.testing.assert_close(end.x, end.x_0, rtol=0, atol=1e-12)


def test_few_steps_of_plms_are_better_than_eulers():
    """Of 5 calls, with and without the extrapolation into sigma = 0: 0.09, and 0.02."""
    denoiser, z = Mixture("flow"), torch.linspace(-2, 2, 41, dtype=torch.float64)[None]

    def error(sampler, *words):
        chosen = config(sampler, "sampler.steps=null", "sampler.calls=5", *words)
        visited = times(chosen, denoiser.schedule)
        found = last(build(chosen)(Bound(denoiser, Cond()), z, visited, noise=no_noise))
        return (found - denoiser.state(z, 0)).square().mean().sqrt()

    assert error("plms") < error("euler")


def test_equalities():
    bound = Bound(Gaussian("cosine"), Cond())
    x = normal(1)(torch.zeros(2, 3, dtype=torch.float64))
    visited = torch.linspace(0.9, 0.1, 6, dtype=torch.float64)

    def same(one, other):
        found = (last(each(bound, x, visited, noise=normal(2))) for each in (one, other))
        torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)

    churn = {"steps": 5, "s_churn": 0.0, "s_tmin": 0.0, "s_tmax": 99.0, "s_noise": 1.0}
    same(partial(ddim, eta=1.0), partial(ddpm, variance="small"))
    same(heun, partial(edm, **churn))
    same(heun, restart)
    same(build(config("dpmpp_2m")), build(config("dpmpp_2m_sde", "sampler.eta=0")))


def test_the_flow_is_followed_up_and_down_again():
    denoiser, z = Gaussian("flow"), torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(3, 3)
    down = torch.linspace(0.8, 0.1, 200, dtype=torch.float64)
    there_and_back = torch.cat([down.flip(0), down[1:]])
    for sampler in (euler, heun):
        bound, start = Bound(denoiser, Cond()), denoiser.state(z, 0.1)
        states = list(sampler(bound, start, there_and_back, noise=no_noise))
        torch.testing.assert_close(states[198].x, denoiser.state(z, 0.8), rtol=0, atol=0.02)
        torch.testing.assert_close(states[-1].x, start, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "sampler",
    [partial(ddpm, variance="large"), partial(ddim, eta=0.5), partial(unipc, order=2), restart],
    ids=["ddpm", "ddim", "unipc", "restart"],
)
@pytest.mark.parametrize("kind", SCHEDULES)
def test_where_times_rise_the_forward_process_adds_noise(sampler, kind):
    """Its mean and variance by the composition of two normals, and no call of the denoiser."""
    rise = torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64)
    (alpha, *_, alpha_b), (sigma, *_, sigma_b) = schedule(kind)(rise)
    draws = iter([torch.ones(1, 2), torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2)])
    bound, x = Bound(Gaussian(kind), Cond()), torch.ones(1, 2, dtype=torch.float64)

    def at_the_top():
        return last(sampler(bound, x, rise, noise=lambda x: next(draws).to(x)))

    mean = alpha_b / alpha * x
    first, second = at_the_top() - mean, at_the_top() - mean
    added = sigma_b**2 - (alpha_b / alpha * sigma) ** 2
    torch.testing.assert_close(first**2 + second**2, added.expand(1, 2), rtol=1e-9, atol=1e-9)
    assert bound.calls == 0
    again = torch.tensor([0.8, 0.5, 0.2, 0.5, 0.3, 0.6, 0.0], dtype=torch.float64)
    assert last(sampler(bound, x, again, noise=normal(0))).isfinite().all()


def test_edm_is_the_published_algorithm():
    """Karras et al., arXiv:2206.00364, algorithm 2, in their own variable, x / alpha."""
    denoiser = Denoiser(network, schedule("scaled_linear"), "v", "sd_index")
    visited = torch.linspace(0.9, 0.0, 9, dtype=torch.float64)
    alpha, sigma = denoiser.schedule(visited)
    x, draw = normal(0)(torch.zeros(2, 3, dtype=torch.float64)), normal(1)
    churn = {
        "steps": len(visited) - 1,
        "s_churn": 2.0,
        "s_tmin": 0.2,
        "s_tmax": 6.0,
        "s_noise": 1.01,
    }
    ours = list(edm(Bound(denoiser, Cond()), x, visited, noise=normal(1), **churn))

    def slope(y, noise):
        t = denoiser.schedule.time(torch.tensor(-2 * math.log(noise), dtype=torch.float64))
        return (y - denoiser(y * denoiser.schedule(t)[0], t.expand(2), Cond())) / noise

    y, levels = x / alpha[0], (sigma / alpha).tolist()
    for i, (here, there) in enumerate(pairwise(levels)):
        gamma = min(2.0 / 8, math.sqrt(2) - 1) if 0.2 <= here <= 6.0 else 0.0
        raised = here * (1 + gamma)
        if gamma:
            y = y + 1.01 * math.sqrt(raised**2 - here**2) * draw(y)
        first = slope(y, raised)
        following = y + (there - raised) * first
        if there:
            following = y + (there - raised) * (first + slope(following, there)) / 2
        y = following
        torch.testing.assert_close(ours[i].x, alpha[i + 1] * y, rtol=1e-8, atol=1e-8)


def test_a_trajectory_begins_with_the_pictures_own_noise():
    chosen = config("heun", "sampler.steps=4")
    steps = list(trajectory(Gaussian("flow"), Cond(), (2, 3), KEYS, chosen, "test", CPU))
    assert [step.t for step in steps] == [1, 0.75, 0.5, 0.25, 0]
    draw = PictureNoise([(0, "test", 0), (0, "test", 1)])
    noise = draw(torch.zeros(2, 2, 3))
    assert torch.equal(steps[0].x, noise) and not steps[0].x_0.any()
    leading = config("euler", "sampler.steps=4", "sampler/grid=leading")
    first = next(iter(trajectory(Gaussian("flow"), Cond(), (2, 3), KEYS, leading, "test", CPU)))
    assert first.t == pytest.approx(0.752)
    torch.testing.assert_close(first.x, math.hypot(0.248, 0.752) * noise)


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_does_not_change_a_picture(kind):
    denoiser = Denoiser(network, schedule("flow"), "flow", "flow_time")
    chosen = config(kind, "sampler.steps=6")

    def sample(keys):
        return last(trajectory(denoiser, Cond(), (3, 5), keys, chosen, "test", CPU))

    keys = [(0, 0), (0, 1), (7, 0), (7, 3)]
    together = sample(keys)
    alone = torch.cat([sample([key]) for key in keys])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(sample(keys[::-1]).flip(0), together, rtol=0, atol=1e-5)
    assert torch.pdist(together.flatten(1)).min() > 0.1


def test_a_pictures_noise_is_standard_normal_and_its_own():
    draw = PictureNoise([(0, "a", i) for i in range(64)])
    first, second = draw(torch.zeros(64, 400)), draw(torch.zeros(64, 400))
    everything = torch.stack([first, second]).flatten(0, 1)
    assert everything.mean().abs() < 0.02 and everything.std() == pytest.approx(1, abs=0.02)
    correlation = torch.corrcoef(everything) - torch.eye(128)
    assert correlation.abs().max() < 0.3
    assert draw(torch.zeros(64, 2, dtype=torch.float64)).dtype == torch.float64
