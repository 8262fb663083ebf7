"""What `dmtool sample` is asked for beside its settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from dmtool.errors import UserError

if TYPE_CHECKING:
    from dmtool.chain.prompts import Wildcards


class MaskFrom(StrEnum):
    """What of a mask says where a picture is painted anew."""

    WHITE = "white"
    ALPHA = "alpha"


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """`n` pictures of each prompt, from picture `index` of the seed on; UserError for nonsense.

    Args:
        prompts: templates, of which each picture's prompt is drawn; there may be weights in them.
        wildcards: what the templates, and `negative`, are drawn by.
        negative: what to stay away from.
        out: directory; None is the run's `samples`.
        film: whether the steps of each picture are shown.
        init, mask, mask_from, outpaint: see `Edit.read`.
        vary: how far the pictures lie from picture `index`, in (0, 1].
        frames: pictures on the way from each prompt to the next, and from the seed to `to_seed`.
    """

    prompts: list[str]
    wildcards: Wildcards
    n: int
    index: int
    negative: str
    out: Path | None
    film: bool
    init: Path | None
    mask: Path | None
    mask_from: MaskFrom
    outpaint: tuple[int, int, int, int] | None
    vary: float | None
    frames: int | None
    to_seed: int | None

    def __post_init__(self) -> None:
        if self.init is None and (self.mask or self.outpaint):
            raise UserError("--mask and --outpaint are of a picture: name it by --init FILE")
        if self.mask is None and self.mask_from != MaskFrom.WHITE:
            raise UserError(f"--mask-from {self.mask_from} is of a mask: name it by --mask FILE")
        if self.vary is not None and not 0 < self.vary <= 1:
            raise UserError(f"--vary {self.vary} is outside (0, 1]: 0.1 is near, 1 another picture")
        if self.vary is not None and self.n == 1:
            raise UserError("--vary paints a picture and others near it: say how many by --n")
        if self.frames is None and self.to_seed is not None:
            raise UserError("--to-seed ends a way: say in how many pictures, as --interpolate 8")
        if self.frames is not None:
            self._check_way(self.frames)

    def _check_way(self, frames: int) -> None:
        if self.vary is not None:
            raise UserError("--vary and --interpolate mix seeds in two ways: give one of them")
        if frames < 2:
            raise UserError(f"--interpolate {frames}: a way has at least 2 pictures, its ends")
        if len(self.prompts) < 2 and self.to_seed is None:
            raise UserError("--interpolate leads somewhere: give a second --prompt, or --to-seed")


def borders(text: str) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of "4,0,4,8"; UserError for anything else."""
    try:
        left, top, right, bottom = (int(word) for word in text.split(","))
    except ValueError as error:
        raise UserError(
            f"--outpaint {text}: give four numbers of pixels, LEFT,TOP,RIGHT,BOTTOM"
        ) from error
    return left, top, right, bottom
