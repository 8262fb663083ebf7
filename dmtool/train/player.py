"""Who learns in a training: networks, each with its own optimizers, average and cadence."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dmtool.config.ema import Ema
from dmtool.config.optim import Optim


@dataclass(frozen=True)
class Player:
    """A network that a stage trains, and how.

    It learns in every `every`-th step from `start` pictures on. `ema` of None: its weights are not
    averaged.
    """

    network: nn.Module
    optim: Optim
    ema: Ema | None
    every: int = 1
    start: int = 0

    def learns(self, pictures: int, batch_size: int) -> bool:
        """Whether it learns in the step from `pictures` seen on."""
        return pictures >= self.start and pictures // batch_size % self.every == 0
