"""What is to be painted: prompts, sources of noise, and ways from one to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dmtool.chain.edit import Edit
from dmtool.chain.options import SampleOptions
from dmtool.diffusion.samplers import Key, Mix, Source
from dmtool.errors import UserError
from dmtool.generators.generator import Prompted
from dmtool.text.blend import Blend, Prompt


@dataclass(frozen=True)
class Request(Prompted):
    """A picture to be made; `edit` says what it begins with, if not with noise."""

    edit: Edit | None = None


def variations(key: Key, n: int, share: float) -> list[Source]:
    """A picture's own key, and it on the way to those of the n - 1 pictures after it."""
    seed, i = key
    return [key, *(Mix(key, (seed, i + k), share) for k in range(1, n))]


def prompts_between(prompts: Sequence[str], frames: int) -> list[Prompt]:
    """From each prompt to the next in `frames` pictures, the two included; one alone stays."""
    if len(prompts) == 1:
        return [prompts[0]] * frames
    way: list[Prompt] = [prompts[0]]
    for first, second in pairwise(prompts):
        way += [Blend(first, second, k / (frames - 1)) for k in range(1, frames - 1)]
        way += [second]
    return way


def keys_between(key: Key, other: Key, frames: int) -> list[Source]:
    """From one key to another in `frames` pictures, both included; UserError for the same."""
    if key == other:
        raise UserError(f"--to-seed {key[0]} is the seed itself: name another")
    inner = [Mix(key, other, k / (frames - 1)) for k in range(1, frames - 1)]
    return [key, *inner, other]


def requests(options: SampleOptions, seed: int, edit: Edit | None) -> list[Request]:
    """The pictures in the order of their files: `n` of each prompt, or of each step of the way."""
    key = (seed, options.index)
    sources: Sequence[Source] = [(seed, options.index + k) for k in range(options.n)]
    if options.vary is not None:
        sources = variations(key, options.n, options.vary)
    columns = [_column(options, source, edit) for source in sources]
    return [request for row in zip(*columns, strict=True) for request in row]


def _column(options: SampleOptions, source: Source, edit: Edit | None) -> list[Request]:
    """The pictures that begin at one source: of each prompt, or on the way from prompt to prompt.

    What is drawn of templates is drawn once, from the key that the source begins at.
    """
    key = source.key if isinstance(source, Mix) else source
    drawn = [options.wildcards.drawn(prompt, *key) for prompt in options.prompts]
    negative = options.wildcards.drawn(options.negative, *key, "negative")
    prompts: Sequence[Prompt] = drawn
    if options.frames is not None:
        prompts = prompts_between(drawn, options.frames)
    sources: Sequence[Source] = [source] * len(prompts)
    if options.to_seed is not None:
        sources = keys_between(key, (options.to_seed, key[1]), len(prompts))
    pairs = zip(prompts, sources, strict=True)
    return [Request(prompt, each, negative, edit) for prompt, each in pairs]
