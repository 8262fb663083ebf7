"""What the chain asks of every upsampler, and the small pictures that all are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

from torch import Tensor
from torch.nn.functional import interpolate

from dmtool.data.transforms import to_tensor, to_uint8
from dmtool.diffusion.samplers import Known, Source
from dmtool.text.blend import Prompt
from dmtool.text.encoder import Wrap


class Upsampler(Protocol):
    """Pictures [B, 3, h, w] -> [B, 3, factor h, factor w], in [-1, 1].

    h and w must be divisible by `multiple`.
    """

    @property
    def factor(self) -> int: ...

    @property
    def multiple(self) -> int: ...

    def __call__(
        self,
        small: Tensor,
        prompts: Sequence[Prompt],
        sources: Sequence[Source],
        given: Known | None = None,
    ) -> Tensor:
        """What is random of each picture is drawn from its source; `given`: a picture of the large
        size that is known in part."""
        ...

    def settings(self) -> dict[str, Any]:
        """What a figure must say of how pictures are enlarged, for JSON."""
        ...

    def hearing(self, wrap: Wrap) -> Self:
        """The same one, which hears by what `wrap` makes of its text encoder."""
        ...


def shrink(large: Tensor, factor: int) -> Tensor:
    """The small picture of a large one: antialiased bicubic, rounded to 8 bit like a file.

    [B, 3, H, W] -> [B, 3, H / factor, W / factor], in [-1, 1].
    """
    size = (large.shape[2] // factor, large.shape[3] // factor)
    small = interpolate(large, size=size, mode="bicubic", antialias=True)
    return to_tensor(to_uint8(small))


def enlarge(small: Tensor, factor: int) -> Tensor:
    """Bicubic enlargement of [B, 3, h, w], clamped to [-1, 1]."""
    size = (small.shape[2] * factor, small.shape[3] * factor)
    large = interpolate(small, size, mode="bicubic", antialias=True)  # the usual kernel, a = -0.5
    return large.clamp(-1, 1)
