"""What is painted: captions that the search sees, and others that its gain is reported on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dmtool.data import source
from dmtool.data.pictures import Pictures
from dmtool.errors import UserError
from dmtool.evaluate import features, fid
from dmtool.pipeline import Pipeline, Request
from dmtool.schemas import TuneSampler
from dmtool.tune.bench import Real


class Halves(NamedTuple):
    """The requests to tune on and those to report on: every second one of the split's."""

    tuned: list[Request]
    others: list[Request]


def halves(config: TuneSampler) -> Halves:
    """The captions of the split, or the prompts of the file, with their numbers as seeds.

    UserError below two of either half.
    """
    numbered = _from_file(config.prompts) if config.prompts else _from_split(config)
    requests = [Request(text, (config.seed, number)) for number, text in numbered]
    if len(requests) < 4:
        raise UserError(f"{len(requests)} captions are too few: at least 4 are needed")
    return Halves(requests[::2], requests[1::2])


def _from_file(name: str) -> list[tuple[int, str]]:
    try:
        lines = Path(name).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"prompts={name} cannot be read: {error}") from error
    return [(i, line.strip()) for i, line in enumerate(lines) if line.strip()]


def _from_split(config: TuneSampler) -> list[tuple[int, str]]:
    data = fid.trained_on(config)
    dataset = source.load(data).dataset
    pairs = enumerate(zip(dataset["key"], dataset["caption"], strict=True))
    return [
        (row, captions[0] if captions else "")
        for row, (key, captions) in pairs
        if source.split_of(key, data) == config.split
    ]


def real(config: TuneSampler, chain: Pipeline) -> Real:
    """The features of all pictures that the chain learned from, at the size that it paints."""
    data = fid.trained_on(config)
    loaded = source.load(data)
    fid.check_unchanged(loaded.fingerprint, chain)
    extractor = features.load(config.extractor, chain.device)
    pictures = Pictures(loaded.dataset, data, fid.resolution(chain), config.seed)
    found = fid.real_features(pictures, extractor, loaded.fingerprint, config.batch_size)
    return Real(found, extractor)
