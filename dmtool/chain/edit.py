"""A picture of the user's to begin with, and the part of it that is to be painted anew."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, pad

from dmtool.chain.options import MaskFrom
from dmtool.codecs import Codec
from dmtool.data.transforms import (
    MAX_PIXELS,
    Profiles,
    alpha,
    read,
    read_alpha,
    read_bytes,
    resize,
    to_image,
    to_pixels,
    to_rgb,
    to_tensor,
)
from dmtool.diffusion.samplers import Known
from dmtool.errors import UserError

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
HALF = 128  # of a mask: from here on it is more white than black
GREYISH = 32  # that channels of a grey picture may differ by

Colour = tuple[int, int, int]
Source = Path | str | Image.Image

Borders = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of the picture that is given."""


@dataclass(frozen=True, eq=False)
class Original:
    """A picture of the user's: the file that it stands in, if any, and the bytes of the file, or
    of the picture."""

    picture: Image.Image | None
    file: Path
    data: bytes

    @classmethod
    def of(cls, source: Source) -> Original:
        if isinstance(source, Image.Image):
            return cls(source, Path(), source.tobytes())
        return cls(None, Path(source), read_bytes(Path(source)))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def rgb(self, background: Colour, profiles: Profiles = "convert") -> Image.Image:
        """As RGB, over `background` where it is transparent."""
        if self.picture is not None:
            return to_rgb(self.picture, background, profiles)
        return read(self.file, background, profiles, self.data)

    def alpha(self) -> Image.Image | None:
        """How opaque it is (mode L); None if nothing of it is transparent."""
        if self.picture is not None:
            return alpha(self.picture)
        return read_alpha(self.file, self.data)


@dataclass(frozen=True, eq=False)
class Edit:
    """What is done to a picture: `read` makes it. `settings` is what of it stands in a PNG.

    `picture` is square, RGB, of any size; `mask` (mode L, of that size) is white where the picture
    is painted anew, and None where it all may change.
    """

    picture: Image.Image
    mask: Image.Image | None
    strength: float
    repeats: int
    jump: int
    settings: dict[str, Any]

    @property
    def share(self) -> float:
        """How much of the picture is painted anew, in [0, 1]."""
        return 1.0 if self.mask is None else float(np.asarray(self.mask).mean()) / 255

    @classmethod
    def read(
        cls,
        init: Source,
        strength: float,
        *,
        mask: Source | None = None,
        mask_from: MaskFrom = MaskFrom.WHITE,
        outpaint: Borders | None = None,
        repeats: int = 1,
        jump: int = 1,
    ) -> Edit:
        """The edit of a picture file, or of a picture.

        Args:
            init: the picture; transparent parts are white.
            strength: share of the sampler's steps, the last ones, that it goes through, in (0, 1].
            mask: white where the picture is painted anew, black where it is kept, of its size.
            mask_from: ALPHA if it is instead painted where the mask is transparent.
            outpaint: borders that are added to the picture and painted.
            repeats, jump: with a mask or borders each stretch of `jump` steps is walked `repeats`
                times (RePaint).

        Raises UserError for a picture that cannot be read or is, with its borders, not square, and
        for a mask of another size, of another kind, or by which nothing is painted.
        """
        if not 0 < strength <= 1:
            raise UserError(f"a strength of {strength} is outside (0, 1]: 1 keeps nothing")
        begun = Original.of(init)
        picture = begun.rgb(WHITE)
        settings = {"init": begun.sha256, "strength": strength, "mask": None, "outpaint": outpaint}
        painted = None
        if mask is not None:
            drawn = Original.of(mask)
            painted = _same_size(_white(drawn, mask_from), picture)
            settings["mask"] = drawn.sha256
            settings |= {"mask_from": mask_from} if mask_from != MaskFrom.WHITE else {}
        if outpaint is not None:
            picture, painted = _bordered(picture, painted, outpaint)
        _check_square(picture)
        if painted is not None:
            settings |= {"repeats": repeats, "jump": jump}
            _check_painted(painted, mask_from)
        if painted is None or painted.getextrema() == (255, 255):  # nothing is known
            return cls(picture, None, strength, 1, 1, settings)
        return cls(picture, painted, strength, repeats, jump, settings)

    def given(self, codec: Codec, size: int, device: torch.device) -> Known:
        """The picture at `size` x `size` pixels as the codec encodes it, and what is painted of it:
        the cells in which any pixel of the mask is more white than black."""
        x_0 = codec.encode(self._at(size)[0].to(device))
        return self.walk(x_0, self._paint(x_0.shape[2:], device))

    def known(self, size: int, device: torch.device) -> Known | None:
        """The known part of the picture's `size` x `size` pixels, for an upsampler to paint around;
        None if there is no such part."""
        paint = self._paint((size, size), device)
        return None if paint is None else Known(self._at(size)[0].to(device), paint=paint)

    def walk(self, x_0: Tensor, paint: Tensor | None = None) -> Known:
        """The steps that an encoded picture goes through."""
        return Known(x_0, self.strength, paint, self.repeats, self.jump)

    def pasted(self, pictures: Tensor) -> Tensor:
        """Painted pictures [B, 3, H, H] in [-1, 1], with the given one where the mask is black.

        Where it is grey both are mixed, so a mask with a soft rim leaves no seam.
        """
        if self.mask is None:
            return pictures
        known, share = (each.to(pictures) for each in self._at(pictures.shape[-1]))
        return share * pictures + (1 - share) * known

    def _paint(self, shape: Sequence[int], device: torch.device) -> Tensor | None:
        """Which of [1, 1, *shape] cells are painted, None for all."""
        if self.mask is None:
            return None
        white = (to_pixels(self.mask.convert("RGB"))[:1] >= HALF).float()
        return (adaptive_max_pool2d(white[None], list(shape)) > 0).to(device)

    def _at(self, size: int) -> tuple[Tensor, Tensor]:
        """The picture [1, 3, size, size] in [-1, 1], and how white the mask is there, in [0, 1]."""
        picture = to_tensor(to_pixels(resize(self.picture, size)))
        if self.mask is None:
            return picture[None], torch.ones(())
        mask = self.mask.resize((size, size), Image.Resampling.BILINEAR)
        return picture[None], to_pixels(mask.convert("RGB"))[:1].float() / 255


def _white(mask: Original, kind: MaskFrom) -> Image.Image:
    """A mask as grey (mode L), white where it is painted; UserError if it is of another kind."""
    if kind == MaskFrom.ALPHA:
        clear = mask.alpha()
        if clear is None:
            raise UserError("the mask has no transparency, from which --mask-from alpha takes it")
        return ImageOps.invert(clear)
    found = mask.rgb(BLACK, "ignore")
    channels = np.asarray(found).astype(int)
    if np.ptp(channels, axis=-1).max() > GREYISH:
        raise UserError(
            "the mask is in colours: it is to be white where it is painted anew, black where it is "
            "kept; if that is said by its transparency, give --mask-from alpha"
        )
    return found.convert("L")


def _check_painted(mask: Image.Image, kind: MaskFrom) -> None:
    """UserError if nothing is painted: the picture would come back as it is."""
    if np.asarray(mask).max() < HALF:
        why = {
            MaskFrom.WHITE: "no pixel is more white than black (if its hole is in its "
            "transparency, give --mask-from alpha)",
            MaskFrom.ALPHA: "no pixel is more transparent than opaque",
        }
        raise UserError(f"by this mask nothing is painted anew: {why[kind]}")


def _same_size(mask: Image.Image, picture: Image.Image) -> Image.Image:
    if mask.size != picture.size:
        sizes = (" x ".join(map(str, image.size)) for image in (mask, picture))
        raise UserError("the mask is {} pixels, the picture {}: make them equal".format(*sizes))
    return mask


def _bordered(
    picture: Image.Image, mask: Image.Image | None, borders: Borders
) -> tuple[Image.Image, Image.Image]:
    """The picture with borders that repeat its edge, and the mask, white there."""
    if min(borders) < 0 or not any(borders):
        raise UserError(
            f"outpaint={','.join(map(str, borders))}: give the pixels to add at the left, top, "
            "right and bottom, 0 or more, not all 0"
        )
    left, top, right, bottom = borders
    width, height = picture.width + left + right, picture.height + top + bottom
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{width} x {height} pixels with borders are more than the limit of {MAX_PIXELS}"
        )
    around = (left, right, top, bottom)
    known = Image.new("L", picture.size, 0) if mask is None else mask
    wide = pad(to_pixels(picture).float()[None], around, mode="replicate")[0]
    white = pad(to_pixels(known.convert("RGB")), around, value=255)
    return to_image(wide.to(torch.uint8)), to_image(white).convert("L")


def _check_square(picture: Image.Image) -> None:
    width, height = picture.size
    if width != height:
        room = abs(width - height)
        near, far = room // 2, room - room // 2
        fits = (0, near, 0, far) if width > height else (near, 0, far, 0)
        raise UserError(
            f"the picture is {width} x {height} pixels, and what the model paints is square: crop "
            f"it, or have the rest painted by --outpaint {','.join(map(str, fits))}"
        )
