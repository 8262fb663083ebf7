"""What codes are: numbers or ids, on a grid that is smaller than the picture by a factor."""

from __future__ import annotations

from dataclasses import dataclass

from dmtool.errors import UserError


@dataclass(frozen=True)
class Continuous:
    """Codes [B, channels, H / factor, W / factor] of numbers.

    By the last two a code's density becomes the bits of what was encoded: `bins` is the distance
    between the values that a number can have, None if it can have any; `whitening_bits` what
    whitening takes from the log2 of a number's density, mean over the channels.
    """

    channels: int
    factor: int
    bins: float | None = None
    whitening_bits: float = 0.0

    def shape(self, size: int) -> tuple[int, ...]:
        """Of the code of a picture of `size` x `size` pixels."""
        return self.channels, size // self.factor, size // self.factor


@dataclass(frozen=True)
class Discrete:
    """Codes [B, H / factor, W / factor] of ids, from 0 to below `vocabulary`."""

    vocabulary: int
    factor: int

    def shape(self, size: int) -> tuple[int, ...]:
        """Of the code of a picture of `size` x `size` pixels."""
        return size // self.factor, size // self.factor


Space = Continuous | Discrete


def continuous(space: Space) -> Continuous:
    """The same space; UserError for ids, to which no noise can be added."""
    if isinstance(space, Continuous):
        return space
    raise UserError(
        f"this autoencoder makes ids below {space.vocabulary}, and a noise predictor needs "
        "numbers: take another autoencoder, or codec=pixels"
    )
