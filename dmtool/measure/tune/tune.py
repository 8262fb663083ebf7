"""`dmtool tune-sampler`: a search in two stages, and what it gained on captions it has not seen."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dmtool import runs
from dmtool.chain import pipeline
from dmtool.chain.pipeline import Pipeline
from dmtool.config import usual, words
from dmtool.config.guidance import Guidance
from dmtool.config.sampling import Sampler
from dmtool.config.tuning import TuneSampler
from dmtool.config.using import Defaults
from dmtool.config.validation import check
from dmtool.data.batches import evenly
from dmtool.errors import UserError
from dmtool.generators.generator import Tunable, needed
from dmtool.measure.tune import guided
from dmtool.measure.tune.bench import Bench, Real, distance, rmse
from dmtool.measure.tune.captions import Halves, captions, halves, real
from dmtool.measure.tune.settings import label
from dmtool.measure.tune.steps import best_steps
from dmtool.runs import defaults
from dmtool.say import counted, say

Figures = dict[str, Any]


def run(config: TuneSampler, out: Path | None) -> None:
    """Search, report, and store the winner beside the artifact, or in the file `out`.

    First the steps, by the distance to the pictures that the same model makes of the same noise
    with many; then the guidance, by the distance to the real pictures.
    """
    before = baseline(config)
    chain = pipeline.load(config)
    guidance = needed(chain.generator, Tunable, "tune-sampler").guidance  # of the steps' pictures
    parts = halves(captions(config, chain), config.seed)
    sampler, steps = _steps(config, chain, parts, before)
    found = {"protocol": _protocol(config), "steps": steps}
    if config.guided.scales and chain.generator.text.dim:
        guidance, figures = _guidance(config, chain, parts, before, sampler)
        found |= {"guidance": figures}
    kept = guidance if "guidance" in found or guidance != _usual() else None
    settings = Defaults(sampler=sampler, guidance=kept, upsample=None)
    say(f"words: {' '.join(words.of_defaults(settings))}")
    say(f"stored in {_store(config, settings, found, out)}")


def baseline(config: TuneSampler) -> Sampler:
    """The sampler that the winner is compared with, at the same calls; UserError if too few."""
    try:
        return replace(config.sampler, steps=None, calls=config.calls)
    except ValueError as error:
        raise UserError(f"calls={config.calls}: sampler={config.sampler.kind} {error}") from error


def _steps(
    config: TuneSampler, chain: Pipeline, parts: Halves, before: Sampler
) -> tuple[Sampler, Figures]:
    benches = [Bench(chain, evenly(part, config.count)) for part in parts]
    many, guidance = config.reference, benches[0].generator.guidance
    calls, of = counted(many.calls_made, "call"), counted(config.count, "caption")
    say(f"steps: RMSE to {many.kind} with {calls}, {of}")
    seen = benches[0].pictures(many, guidance)
    sampler, error = best_steps(config, benches[0], guidance, seen)
    say(f"  {error:6.2f}  {label(sampler)}")
    aim = benches[1].pictures(many, guidance)
    pair = (before, sampler)
    first, last = (rmse(benches[1].pictures(each, guidance), aim) for each in pair)
    n = len(aim)
    say(f"on {n} other captions: RMSE {first:.2f} with sampler={before.kind}, now {last:.2f}")
    return sampler, {"metric": "RMSE", "n": n, "before": first, "after": last, "tuned": error}


def _guidance(
    config: TuneSampler, chain: Pipeline, parts: Halves, before: Sampler, sampler: Sampler
) -> tuple[Guidance, Figures]:
    seen, others = (Bench(chain, evenly(part, config.guided.count)) for part in parts)
    aim: Real = real(config, chain)
    name = aim.extractor.name
    say(f"guidance: {name}, {counted(len(seen.requests), 'caption')}")
    start = seen.generator.guidance
    chosen = guided.best_guidance(
        config.guided, start, lambda each: distance(seen, sampler, each, aim)
    )
    first = distance(others, before, start, aim)
    last = distance(others, sampler, chosen, aim)
    n = len(others.requests)
    say(f"on {n} other captions: {name} {first:.2f} with sampler={before.kind}, now {last:.2f}")
    return chosen, {"metric": name, "n": n, "before": first, "after": last}


def _protocol(config: TuneSampler) -> Figures:
    """All that the figures depend on, for JSON."""
    names = "calls", "split", "prompts", "count", "samplers", "grids", "keep", "rounds", "seed"
    parts = "sampler", "reference", "guidance", "guided"
    return {
        "captions": "every second one to tune, the others to report",
        **{name: getattr(config, name) for name in names},
        **{part: asdict(getattr(config, part)) for part in parts},
    }


def _usual() -> Guidance:
    """What sampling has where nothing is stored."""
    return check(usual.guidance(), Guidance)


def _store(config: TuneSampler, settings: Defaults, found: Figures, out: Path | None) -> Path:
    artifact = runs.generator(config)
    path = out or defaults.file(artifact)
    defaults.write(path, artifact, settings, found)
    return path
