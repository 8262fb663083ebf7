"""What an autoencoder asks of its bottleneck."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor, nn

NONE: Mapping[str, Tensor] = MappingProxyType({})


class Bottled(NamedTuple):
    """What becomes of features in training.

    `z` [B, C, h, w] is what the decoder hears. `penalties` are losses by name, scalars, each for a
    weight of its own. `figures` tell of it and are for the log alone. `sums` are added
    up over all of a step, for a bottleneck that settles by them.
    """

    z: Tensor
    penalties: Mapping[str, Tensor] = NONE
    figures: Mapping[str, Tensor] = NONE
    sums: Mapping[str, Tensor] = NONE


class Bottleneck(nn.Module, ABC):
    """The encoder's [B, `features`, h, w] -> a code -> the decoder's [B, `width`, h, w].

    The code is what is stored and generated: without noise, the same each time.
    """

    features: int
    width: int

    @abstractmethod
    def forward(self, features: Tensor, noise: Tensor) -> Bottled:
        """In training; `noise` is standard normal, [B, width, h, w]."""

    @abstractmethod
    def code(self, features: Tensor) -> Tensor:
        """What is stored of features."""

    @abstractmethod
    def embed(self, code: Tensor) -> Tensor:
        """The code as the decoder hears it."""

    def settle(self, sums: Mapping[str, Tensor]) -> None:
        """After a step: change buffers by the sums over all of it, the same on all processes."""
        assert not sums


class DiscreteBottleneck(Bottleneck):
    """A bottleneck whose codes can be numbered: ids [B, h, w] below `vocabulary`."""

    vocabulary: int

    @abstractmethod
    def ids(self, code: Tensor) -> Tensor:
        """The numbers of the codes."""

    @abstractmethod
    def of_ids(self, ids: Tensor) -> Tensor:
        """What the decoder hears of these numbers, [B, width, h, w]."""
