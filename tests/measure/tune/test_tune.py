"""The search for few calls, on a mixture of Gaussians whose denoiser is known in closed form."""

from dataclasses import replace

import pytest
import torch
from cards import of_pixels
from exact import Mixture

from dmtool import codecs
from dmtool.chain.pipeline import Pipeline
from dmtool.chain.request import Request
from dmtool.config import words
from dmtool.config.compose import composed
from dmtool.config.tuning import TuneSampler
from dmtool.config.validation import validate
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.sampling import times
from dmtool.errors import UserError
from dmtool.generators.diffusion import Diffusion
from dmtool.measure.tune import Bench, best_steps, descend, explicit, guided, label, parsed, rmse
from dmtool.measure.tune.captions import halves
from dmtool.measure.tune.steps import dragged
from dmtool.measure.tune.tune import baseline
from dmtool.text.encoder import NoTextEncoder

CPU = torch.device("cpu")


def config(*words):
    return validate(composed("tune_sampler", list(words)), TuneSampler)


def chain(kind, chosen):
    generator = Diffusion(
        name="mixture",
        card=of_pixels(4),
        denoiser=Mixture(kind),
        text=NoTextEncoder(),
        sampler=chosen.sampler,
        guidance=replace(chosen.guidance, scale=1.0),
        device=CPU,
    )
    return Pipeline(
        generator=generator,
        codec=codecs.load(None, CPU),
        upsampler=None,
        device=CPU,
        dtype=torch.float32,
        batch_size=64,
    )


@pytest.mark.parametrize(("kind", "calls"), [("flow", 5), ("flow", 8), ("scaled_linear", 6)])
def test_tuned_steps_beat_even_ones_on_other_seeds(kind, calls):
    chosen = config(
        f"calls={calls}",
        "samplers=[dpmpp_2m,euler]",
        "grids=[uniform,log_snr,karras]",
        "rounds=4",
    )
    made = chain(kind, chosen)
    seen, others = (Bench(made, [Request("", (seed, i)) for i in range(24)]) for seed in (0, 1))
    aim = seen.pictures(chosen.reference, made.generator.guidance)
    sampler, error = best_steps(chosen, seen, made.generator.guidance, aim)
    assert sampler.calls_made == calls and parsed(label(sampler), calls) == sampler
    assert error == rmse(seen.pictures(sampler, made.generator.guidance), aim)

    aim = others.pictures(chosen.reference, made.generator.guidance)
    tuned = rmse(others.pictures(sampler, made.generator.guidance), aim)
    for grid in ("uniform", "log_snr"):
        even = parsed(f"sampler={sampler.kind} sampler/grid={grid}", calls)
        assert tuned < 0.6 * rmse(others.pictures(even, made.generator.guidance), aim)


def test_descent_finds_the_minimum_and_keeps_the_end():
    goal = torch.tensor([0.95, 0.62, 0.4, 0.15, 0.0], dtype=torch.float64)
    start = torch.linspace(1, 0, 5, dtype=torch.float64)
    found = descend(start, lambda each: (each - goal).square().sum().item(), 8)
    assert (found - goal).abs().max() < 0.03 and found[-1] == 0
    assert descend(start, lambda each: 0.0, 3) is start
    alone = dragged(start, 1, 0.8)
    assert alone.tolist() == pytest.approx([1, 0.8, 0.8 / 3 * 2, 0.8 / 3, 0])
    assert dragged(start, 2, 0.6).tolist() == pytest.approx([1, 0.8, 0.6, 0.3, 0])
    assert dragged(start, 0, 0.5).tolist() == pytest.approx([0.5, 0.375, 0.25, 0.125, 0])


@pytest.mark.parametrize("kind", ["flow", "scaled_linear"])
def test_explicit_levels_make_the_same_times(kind):
    for said in ("sampler=heun sampler/grid=karras", "sampler=unipc sampler.order=3"):
        sampler, noise = parsed(said, 8), schedule(kind)
        same = explicit(sampler, times(sampler, noise), noise)
        assert parsed(label(same), 8) == same
        torch.testing.assert_close(times(same, noise), times(sampler, noise), atol=1e-3, rtol=0)


def test_guidance_is_searched_by_scale_and_interval():
    def distance(guidance):
        high = 9.0 if guidance.interval.high is None else guidance.interval.high
        return abs(guidance.scale - (3 if high < 9 else 2)) + high

    chosen = config("guided.scales=[1,2,3]", "guided.intervals=[[0,null],[0,5]]")
    best = guided.best_guidance(chosen.guided, chosen.guidance, distance)
    said = words.of_guidance(best)
    assert said == ["guidance.scale=3", "guidance.interval.low=0", "guidance.interval.high=5"]
    assert config(*said).guidance == best


@pytest.mark.parametrize("said", [
    ["guidance=apg", "guidance.rescale=0.5"],
    ["guidance.projected.norm=2.5", "guidance.perturbed={scale: 0.5, levels: [0]}"],
    ["guidance.bad=early", "guidance.bad_scale=1.5"],
])  # fmt: skip
def test_the_words_make_the_guidance_that_was_tuned(said):
    chosen = config(*said, "guided.scales=[8]", "guided.intervals=[[0.2,3]]")
    best = guided.best_guidance(
        chosen.guided, chosen.guidance, lambda each: -each.scale - each.interval.low
    )
    assert best.scale == 8 and best.interval.low == 0.2
    assert config(*words.of_guidance(best)).guidance == best
    assert config(*words.of_guidance(chosen.guidance, always=())).guidance == chosen.guidance
    assert not words.of_guidance(config().guidance, always=())


def test_what_the_search_for_guidance_starts_from_is_kept_where_nothing_is_better():
    chosen = config("guidance.scale=2.5", "guidance.interval.high=7", "guided.scales=[1,4]")
    best = guided.best_guidance(
        chosen.guided, chosen.guidance, lambda each: float(each != chosen.guidance)
    )
    assert best == chosen.guidance


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (["prompts=x.txt"], "add guided.scales=\\[\\]"),
        (["reference.calls=null"], "set one of them"),
        (["sampler@reference=ddpm", "reference.steps=null"], "reference=ddpm is random"),
        (["calls=0"], "calls"),
        (["samplers=[]"], "samplers"),
    ],
)
def test_mistakes_are_named(said, says):
    with pytest.raises(UserError, match=says):
        config(*said)


def test_captions_are_halved_and_keep_their_numbers():
    tuned, others = halves([(0, "a"), (2, "b"), (3, "c"), (4, "d")], 5)
    assert tuned == [Request("a", (5, 0)), Request("c", (5, 3))]
    assert others == [Request("b", (5, 2)), Request("d", (5, 4))]
    same = halves([(row, "abcd"[row // 3]) for row in range(12)], 0)
    heard = [{request.prompt for request in half} for half in same]
    assert heard == [{"a", "c"}, {"b", "d"}] and [*map(len, same)] == [6, 6]
    with pytest.raises(UserError, match="3 captions are too few"):
        halves([(0, "a"), (1, "b"), (2, "c"), (3, "c")], 0)


def test_too_few_calls_are_named():
    with pytest.raises(UserError, match="calls=3: sampler=plms needs at least 4 steps"):
        baseline(config("sampler=plms", "calls=3"))
    chosen = config("samplers=[plms]", "calls=3")
    bench = Bench(chain("flow", chosen), [Request("", (0, 0))])
    with pytest.raises(
        UserError, match=r"no sampler has a meaning with calls=3: .*needs at least 4"
    ):
        best_steps(chosen, bench, bench.generator.guidance, torch.zeros(1, 3, 4, 4))
    chosen = config("samplers=[ddpm]")
    with pytest.raises(UserError, match="is random"):
        best_steps(chosen, bench, bench.generator.guidance, torch.zeros(1, 3, 4, 4))
