"""No codec at all: generators paint pixels themselves, as Imagen's does."""

from __future__ import annotations

from torch import Tensor

from dmtool.codecs.space import Continuous

BINS = 2 / 255
"""The distance between the values of a picture of 8 bits in [-1, 1]."""


class Pixels:
    """The identity, see `codec.Codec`."""

    space, space_id = Continuous(channels=3, factor=1, bins=BINS), "pixels"

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, codes: Tensor) -> Tensor:
        return codes
