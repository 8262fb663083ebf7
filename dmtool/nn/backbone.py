"""What every network of a noise predictor can do, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

Statistics = Mapping[str, tuple[Tensor, Tensor]]
"""The mean and the deviation [D] of each channel of a condition's `states` and `pooled`."""


class Backbone(nn.Module, ABC):
    """(x_t, level, text, extras) -> predictions of x_t's shape, one after another in the channels.

    Inputs take the weights' type.
    """

    @property
    @abstractmethod
    def factor(self) -> int:
        """The sides of x_t must be divisible by it."""

    @property
    @abstractmethod
    def regions(self) -> list[nn.Module]:
        """The repeated blocks, none within another: each is compiled, or computed again in the
        backward pass, on its own."""

    @property
    @abstractmethod
    def units(self) -> list[nn.Module]:
        """What is gathered, computed and let go at a time where weights are in shards; one may lie
        within another."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """How many levels of the resolution there are."""

    @abstractmethod
    def at(self, level: int) -> list[nn.Module]:
        """The blocks of one level of the resolution, 0 being the outermost."""

    @abstractmethod
    def standardise(self, statistics: Statistics) -> None:
        """Take what text has as mean and deviation, if the network standardises what it hears;
        channels that do not vary are left alone."""

    @abstractmethod
    def embed_states(self, states: Tensor) -> Tensor:
        """Text states [B, L, D] as the blocks attend to them."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        level: Tensor,
        states: Tensor | None = None,
        mask: Tensor | None = None,
        pooled: Tensor | None = None,
        extras: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """x [B, C, H, W], level [B], states [B, L, D], mask [B, L], pooled [B, P] ->
        [B, outputs * C, H, W]."""
