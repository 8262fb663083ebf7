"""What a stage is to the loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from dmtool.data.source import Source
from dmtool.files.directories import Fill
from dmtool.text import TextEncoder
from dmtool.train.examples import Batch, Examples, Fixed


class Stage(Protocol):
    """A network, examples, and a batch's losses."""

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
    def network(self) -> nn.Module: ...

    @property
    def examples(self) -> Examples: ...

    @property
    def resolution(self) -> int:
        """Pixels of the pictures that it makes."""
        ...

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Figures of a micro-batch of B: scalars, or [B] with NaN for examples that do not count.

        `loss` is minimised. `model` is the network, perhaps wrapped for several processes.
        """
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
