"""What a picture's noise is drawn from: its own key, or two keys mixed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dmtool.device import sent
from dmtool.diffusion.denoise import expand
from dmtool.diffusion.samplers.base import Noise
from dmtool.rng import generator

Key = tuple[int, int]
"""(seed, i): all that picture i of a prompt is drawn from."""


class Mix(NamedTuple):
    """Noise on the way from that of `key` to that of `other`, another one; `share` is in [0, 1].

    Each draw is cos(share pi / 2) times the one plus sin(share pi / 2) times the other: the
    spherical interpolation (slerp) of orthogonal vectors, as independent noise nearly is. It is
    standard normal at every share, and at 0 and 1 the noise of one key alone.
    """

    key: Key
    other: Key
    share: float


Source = Key | Mix


class PictureNoise:
    """Standard normal noise of which each picture draws its own, from its own key."""

    def __init__(self, keys: Sequence[tuple[int | str, ...]]) -> None:
        self.generators = [generator(*key) for key in keys]

    def __call__(self, x: Tensor) -> Tensor:
        rows = [torch.randn(x.shape[1:], generator=each) for each in self.generators]
        return sent(torch.stack(rows), x.device, x.dtype)


def picture_noise(sources: Sequence[Source], purpose: str) -> Noise:
    """Standard normal noise of which each picture draws its own, from its source and `purpose`."""
    mixes = [each if isinstance(each, Mix) else Mix(each, each, 0.0) for each in sources]
    one, other = (
        PictureNoise([(seed, purpose, i) for seed, i in keys])
        for keys in ([mix.key for mix in mixes], [mix.other for mix in mixes])
    )
    if not any(mix.share for mix in mixes):
        return one
    shares = torch.tensor([mix.share for mix in mixes], dtype=torch.float64)
    away, toward = (torch.sin(math.pi / 2 * part) for part in (1 - shares, shares))
    return lambda x: expand(away, x) * one(x) + expand(toward, x) * other(x)
