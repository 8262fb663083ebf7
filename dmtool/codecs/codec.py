"""What every codec does, and the codec that an artifact holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from dmtool.codecs import latents
from dmtool.codecs.pixels import Pixels
from dmtool.codecs.space import Space
from dmtool.nn import autoencoder
from dmtool.runs import Artifact


class Codec(Protocol):
    """Pictures [B, 3, H, W] in [-1, 1] <-> codes [B, *space.shape(H)].

    `space_id` names what codes mean: the sha256 of all that encodes, or "pixels".
    """

    @property
    def space(self) -> Space: ...

    @property
    def space_id(self) -> str: ...

    def encode(self, pictures: Tensor) -> Tensor: ...

    def decode(self, codes: Tensor) -> Tensor: ...


KINDS: dict[str, Callable[[Artifact, torch.device], Codec]] = dict.fromkeys(
    autoencoder.KINDS, latents.load
)
"""By the kind that an autoencoder's card names."""


def load(artifact: Artifact | None, device: torch.device) -> Codec:
    """The codec of an autoencoder's artifact; pixels for None."""
    return Pixels() if artifact is None else KINDS[artifact.card["kind"]](artifact, device)
