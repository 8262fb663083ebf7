"""What every codec does, and the codec that an artifact holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from dmtool.codecs import latents
from dmtool.codecs.pixels import Pixels
from dmtool.codecs.space import Continuous, Space
from dmtool.errors import UserError
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


KINDS: dict[str, Callable[[Artifact, torch.device], Codec]] = {"kl": latents.load}
"""By the kind that an autoencoder's card names."""


def load(artifact: Artifact | None, device: torch.device) -> Codec:
    """The codec of an autoencoder's artifact; pixels for None."""
    return Pixels() if artifact is None else KINDS[artifact.card["kind"]](artifact, device)


def continuous(codec: Codec) -> Continuous:
    """The space of a codec whose codes are numbers; UserError for ids, which have no noise."""
    if isinstance(codec.space, Continuous):
        return codec.space
    raise UserError(
        f"this autoencoder makes ids below {codec.space.vocabulary}, and a noise predictor needs "
        "numbers: take another autoencoder, or codec=pixels"
    )
