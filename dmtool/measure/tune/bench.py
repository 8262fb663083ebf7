"""Captions with their seeds, painted again and again under other settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmtool.chain.pipeline import Pipeline
from dmtool.chain.request import Request
from dmtool.config.guidance import Guidance
from dmtool.config.sampling import Sampler
from dmtool.generators.generator import Tunable, needed
from dmtool.measure.distances.distance import distance as frechet
from dmtool.measure.features import features
from dmtool.measure.features.features import FeatureExtractor


@dataclass(frozen=True)
class Bench:
    """A chain and what it is asked to paint; picture i depends on its request alone."""

    chain: Pipeline
    requests: list[Request]

    @property
    def generator(self) -> Tunable:
        """UserError if it has no sampler to tune."""
        return needed(self.chain.generator, Tunable, "tune-sampler")

    def first(self, count: int) -> Bench:
        """The same with the first `count` requests."""
        return replace(self, requests=self.requests[:count])

    def stream(self, sampler: Sampler, guidance: Guidance) -> Iterator[Tensor]:
        """uint8 pictures [3, H, W], one at a time."""
        chain = replace(self.chain, generator=self.generator.tuned(sampler, guidance))
        return (picture.pixels for picture in chain.pictures(self.requests))

    def pictures(self, sampler: Sampler, guidance: Guidance) -> Tensor:
        """uint8 pictures [N, 3, H, W]."""
        return torch.stack([*self.stream(sampler, guidance)])


def errors(a: Tensor, b: Tensor) -> Tensor:
    """The root mean squared difference of each picture [N, 3, H, W], in values of 0 to 255."""
    return (a.double() - b.double()).square().mean((1, 2, 3)).sqrt()


def rmse(a: Tensor, b: Tensor) -> float:
    """The mean of `errors`: squares of all pictures would be those of the few that came out as
    another picture."""
    return errors(a, b).mean().item()


@dataclass(frozen=True)
class Real:
    """What pictures are compared with: the features [M, d] of the real ones, and who sees them."""

    features: NDArray[np.float32]
    extractor: FeatureExtractor


def distance(bench: Bench, sampler: Sampler, guidance: Guidance, real: Real) -> float:
    """The Fréchet distance of the bench's pictures to the real ones."""
    images = bench.stream(sampler, guidance)
    fake = features.extract(real.extractor, images, bench.chain.batch_size)
    return frechet(fake, real.features).distance
