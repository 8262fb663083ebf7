"""What a stage is to the loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from dmtool.data.source import Source
from dmtool.files.directories import Fill
from dmtool.text import TextEncoder
from dmtool.train.examples import Fixed
from dmtool.train.feed import Feed
from dmtool.train.player import Player

Networks = Mapping[str, nn.Module]
"""Those of all players, by name."""


@dataclass(frozen=True)
class Losses:
    """What a player finds of a micro-batch of B examples.

    `loss` is minimised. `figures` are logged with it: scalars, or [B] with NaN for examples that do
    not count. `sums` are added up over all micro-batches and processes of the step, and given to
    `Stage.settle` after it: what couples examples is the same however a batch is split.
    """

    loss: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)
    sums: dict[str, Tensor] = field(default_factory=dict)


class Stage(Protocol):
    """Players, a feed, and a batch's losses."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> Source: ...

    @property
    def val_pictures(self) -> int:
        """How many the val split has. Without any, `validate` is of training pictures."""
        ...

    @property
    def text(self) -> TextEncoder | None:
        """What reads captions, if they are read."""
        ...

    @property
    def network(self) -> nn.Module:
        """What is exported: the first player's."""
        ...

    @property
    def players(self) -> dict[str, Player]:
        """Who learns, in the order of their turns in a step."""
        ...

    @property
    def group(self) -> int:
        """Examples that losses may couple: this many neighbours of the batch, whose first one's
        number is a multiple of it, are never split. 1 where each stands alone."""
        ...

    @property
    def feed(self) -> Feed: ...

    @property
    def resolution(self) -> int:
        """Pixels of the pictures that it makes."""
        ...

    def losses(self, player: str, models: Networks, batch: Any) -> Losses:
        """What `player` learns from a micro-batch of the feed's.

        `models` are the players' networks, its own perhaps wrapped for several processes. Those of
        the others are frozen: gradients pass through them and leave none there.
        """
        ...

    def settle(self, player: str, networks: Networks, sums: Mapping[str, Tensor]) -> None:
        """After a player's turn of a step: change buffers of networks by the sums of `losses`, the
        same on all processes. Weights are for optimizers alone."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on held-out examples, at fixed times and noise, of the network as it is."""
        ...

    def made(self, fixed: Fixed) -> Iterator[Tensor]:
        """What the network as it is makes of fixed examples: uint8 [3, H, W] each, on the CPU."""
        ...

    def preview(self, path: Path) -> None:
        """Write a PNG of what the network does to fixed examples."""
        ...

    def card(self, folder: Path) -> tuple[dict[str, Any], Fill]:
        """The artifact's card (it will stand in `folder`), and what writes its further files,
        which is called later, on another thread."""
        ...


class OnePlayer:
    """Of stages with one player, whose losses couple nothing."""

    group = 1

    def settle(self, player: str, networks: Networks, sums: Mapping[str, Tensor]) -> None:
        """There is nothing to settle."""
        assert not sums
