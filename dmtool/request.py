"""What is to be painted: prompts, sources of noise, and ways from one to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dmtool.blend import Blend, Prompt
from dmtool.edit import Edit
from dmtool.errors import UserError
from dmtool.samplers import Key, Mix, Source
from dmtool.wanted import Wanted


@dataclass(frozen=True)
class Request:
    """A picture to be made: it depends on nothing else, not on the batch it is in.

    `prompt` may lie between two, and `key`, (seed, i), the source of its noise, between two keys;
    `edit` says what it begins with, if not with noise.
    """

    prompt: Prompt
    key: Source
    negative: str = ""
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


def requests(wanted: Wanted, seed: int, edit: Edit | None) -> list[Request]:
    """The pictures in the order of their files: `n` of each prompt, or of each step of the way."""
    first, n = wanted.index, wanted.n
    prompts: Sequence[Prompt] = wanted.prompts
    keys: Sequence[Source] = [(seed, i) for i in range(first, first + n)]
    if wanted.vary is not None:
        keys = variations((seed, first), n, wanted.vary)
    if wanted.frames is not None:
        prompts = prompts_between(wanted.prompts, wanted.frames)
    if wanted.to_seed is None:
        return [Request(prompt, key, wanted.negative, edit) for prompt in prompts for key in keys]
    ways = [
        keys_between((seed, i), (wanted.to_seed, i), len(prompts)) for i in range(first, first + n)
    ]
    return [
        Request(prompt, way[frame], wanted.negative, edit)
        for frame, prompt in enumerate(prompts)
        for way in ways
    ]
