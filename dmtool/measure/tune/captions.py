"""What is painted: captions that the search sees, and others that its gain is reported on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dmtool.chain import prompts
from dmtool.chain.pipeline import Pipeline
from dmtool.chain.request import Request
from dmtool.config.tuning import TuneSampler
from dmtool.errors import UserError
from dmtool.measure import real_pictures
from dmtool.measure.features import extractors
from dmtool.measure.tune.bench import Real
from dmtool.say import counted


class Halves(NamedTuple):
    """The requests to tune on and those to report on: every second caption, by its text."""

    tuned: list[Request]
    others: list[Request]


def halves(numbered: Sequence[tuple[int, str]], seed: int) -> Halves:
    """Requests for captions, with their numbers as seeds; UserError below two of either half."""
    place = {text: i for i, text in enumerate(dict.fromkeys(text for _, text in numbered))}
    if len(place) < 4:
        raise UserError(
            f"{counted(len(place), 'caption is', 'captions are')} too few: at least 4 that differ "
            "are needed"
        )
    tuned, others = (
        [Request(text, (seed, number)) for number, text in numbered if place[text] % 2 == half]
        for half in (0, 1)
    )
    return Halves(tuned, others)


def captions(config: TuneSampler, chain: Pipeline) -> list[tuple[int, str]]:
    """The numbered prompts of the file, or captions of the split of what the chain learned."""
    if config.prompts:
        return [*enumerate(prompts.lines(Path(config.prompts)))]
    real = real_pictures.of_chain(chain, config)
    return [(row, real.captions[row]) for row in real.rows(None, config.split)]


def real(config: TuneSampler, chain: Pipeline) -> Real:
    """The features of all pictures that the chain learned from, at the size that it paints."""
    extractor = extractors.load(config.extractor, chain.device)
    found = real_pictures.of_chain(chain, config).features(extractor, config.batch_size)
    return Real(found, extractor)
