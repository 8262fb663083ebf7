"""What happens to a picture before a network sees it: resize, crop and normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmtool.measure.features import resize
from dmtool.measure.features.resize import Resize

RESIZES: dict[str, tuple[Resize, str]] = {
    "tf1": (
        resize.tf1_bilinear,
        "TensorFlow 1 bilinear: no antialiasing, no half-pixel shift",
    ),
    "bilinear": (resize.bilinear, "bilinear, no antialiasing"),
    "bilinear_antialias": (resize.antialiased_bilinear, "bilinear, antialiased, not rounded"),
    "bicubic": (
        resize.antialiased_bicubic,
        "bicubic, antialiased, clamped to 0..255, not rounded",
    ),
    "pillow_bicubic": (resize.pillow_bicubic, "Pillow's bicubic, rounded to 8 bits"),
}

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of pixels in [0, 1], red, green, blue."""

LONGEST = 16  # times the shorter side: of longer pictures the ends are cut off before a crop

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Preparation:
    """Pictures -> (resized - mean) / std, `mean` and `std` in units of [0, 255].

    `fit` is `squash` (whatever its shape, to a square of `size` pixels) or `crop` (the shorter side
    to `size`, then the middle square).
    """

    size: int
    resize: str
    mean: Triple
    std: Triple
    fit: str = "squash"

    def __call__(self, images: Tensor) -> Tensor:
        """Float pictures [B, 3, H, W] in [0, 255] -> the network's input [B, 3, size, size]."""
        if self.fit == "crop":
            images = near_the_middle(images)
            resized = _middle(RESIZES[self.resize][0](images, self._scaled(images)), self.size)
        else:
            resized = RESIZES[self.resize][0](images, self.size)
        mean, std = (resized.new_tensor(each).view(3, 1, 1) for each in (self.mean, self.std))
        return (resized - mean) / std

    def protocol(self) -> dict[str, str]:
        """The same in words, for JSON."""
        cut = "shorter side, then the middle square" if self.fit == "crop" else "squashed"
        return {
            "colour": "RGB",
            "resize": f"{self.size}x{self.size}, {RESIZES[self.resize][1]}, {cut}",
            "normalisation": f"(x - {_short(self.mean)}) / {_short(self.std)}",
        }

    def _scaled(self, images: Tensor) -> tuple[int, int]:
        height, width = images.shape[-2:]
        shorter = min(height, width)
        return int(self.size * height / shorter), int(self.size * width / shorter)


def scaled(mean: Triple, std: Triple) -> tuple[Triple, Triple]:
    """Mean and standard deviation of pixels in [0, 1] in units of [0, 255]."""
    first, second = (tuple(255 * x for x in each) for each in (mean, std))
    return first, second  # type: ignore[return-value]


def same(value: float) -> Triple:
    """One number for all three channels."""
    return value, value, value


def near_the_middle(images: Tensor) -> Tensor:
    """What of pictures [..., H, W] is not so far from their middle that it would only cost
    memory."""
    height, width = images.shape[-2:]
    most = LONGEST * min(height, width)
    top, left = max(0, (height - most) // 2), max(0, (width - most) // 2)
    return images[..., top : top + most, left : left + most]


def _middle(images: Tensor, size: int) -> Tensor:
    top, left = (round((side - size) / 2) for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size].contiguous(
        memory_format=torch.channels_last
    )


def _short(values: Triple) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else str([round(v, 6) for v in values])
