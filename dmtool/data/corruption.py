"""Pictures made worse, for autoencoders that learn to make them good again (Vincent et al., 2008).

Each picture has its own strength, drawn evenly from none to the most, and its own random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from dmtool.config.corruption import Blur, Corruption, GaussianNoise, Jpeg, Masking, NoCorruption
from dmtool.data.transforms import to_image, to_pixels

GREY = 128
BEST = 95
"""JPEG's quality at no strength."""


def corrupted(config: Corruption, pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A picture uint8 [3, H, W], made worse; the one that came in stays as it is."""
    strength = torch.rand((), generator=generator).item()
    return KINDS[type(config)](config, pixels, strength, generator)


def _gaussian(config: GaussianNoise, pixels: Tensor, strength: float, draw: Any) -> Tensor:
    noise = torch.randn(pixels.shape, generator=draw)
    return (pixels + 127.5 * strength * config.strength * noise).round().clamp(0, 255).byte()


def _mask(config: Masking, pixels: Tensor, strength: float, draw: Any) -> Tensor:
    height, width = (-(-side // config.patch) for side in pixels.shape[1:])
    hidden = torch.rand(height, width, generator=draw) < strength * config.strength
    hidden = hidden.repeat_interleave(config.patch, 0).repeat_interleave(config.patch, 1)
    return pixels.masked_fill(hidden[: pixels.shape[1], : pixels.shape[2]], GREY)


def _blur(config: Blur, pixels: Tensor, strength: float, draw: Any) -> Tensor:
    return to_pixels(to_image(pixels).filter(ImageFilter.GaussianBlur(strength * config.strength)))


def _jpeg(config: Jpeg, pixels: Tensor, strength: float, draw: Any) -> Tensor:
    file = BytesIO()
    quality = round(BEST + strength * (config.quality - BEST))
    to_image(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


KINDS: dict[type, Callable[[Any, Tensor, float, torch.Generator], Tensor]] = {
    NoCorruption: lambda config, pixels, strength, draw: pixels,
    GaussianNoise: _gaussian,
    Masking: _mask,
    Blur: _blur,
    Jpeg: _jpeg,
}
