"""What is painted: captions that the search sees, and others that its gain is reported on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dmtool import prompts
from dmtool.errors import UserError
from dmtool.evaluate import extractors, reals
from dmtool.pipeline import Pipeline
from dmtool.request import Request
from dmtool.schemas import TuneSampler
from dmtool.tune.bench import Real


class Halves(NamedTuple):
    """The requests to tune on and those to report on: every second one."""

    tuned: list[Request]
    others: list[Request]


def halves(numbered: Sequence[tuple[int, str]], seed: int) -> Halves:
    """Requests for captions, with their numbers as seeds; UserError below two of either half."""
    requests = [Request(text, (seed, number)) for number, text in numbered]
    if len(requests) < 4:
        raise UserError(f"{len(requests)} captions are too few: at least 4 are needed")
    return Halves(requests[::2], requests[1::2])


def captions(config: TuneSampler, chain: Pipeline) -> list[tuple[int, str]]:
    """The numbered prompts of the file, or captions of the split of what the chain learned."""
    if config.prompts:
        return [*enumerate(prompts.lines(Path(config.prompts)))]
    real = reals.of_chain(chain, config)
    return [(row, real.captions[row]) for row in real.rows(None, config.split)]


def real(config: TuneSampler, chain: Pipeline) -> Real:
    """The features of all pictures that the chain learned from, at the size that it paints."""
    extractor = extractors.load(config.extractor, chain.device)
    found = reals.of_chain(chain, config).features(extractor, config.batch_size)
    return Real(found, extractor)
