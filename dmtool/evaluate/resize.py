"""How pictures reach the size that an extractor was made for: part of the metric's definition."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def antialiased_bicubic(images: Tensor, size: int) -> Tensor:
    """Resize float images [B, C, H, W] in [0, 255] to `size` squared; no rounding, same range."""
    resized = functional.interpolate(
        images, (size, size), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(0, 255)


def tf1_bilinear(images: Tensor, size: int) -> Tensor:
    """Resize float images [B, C, H, W] as TensorFlow 1's `resize_bilinear` does.

    Pixel i is read at i * in / out, with no antialiasing and no half-pixel shift, between its
    lower and upper neighbour (the latter kept inside the picture): the resize inside the graph
    that defined FID.
    """
    return _tf1_last_axis(_tf1_last_axis(images, size).mT, size).mT.contiguous()


def _tf1_last_axis(images: Tensor, size: int) -> Tensor:
    length = images.shape[-1]
    source = torch.arange(size, device=images.device, dtype=torch.float32) * (length / size)
    lower = source.long()
    upper = (lower + 1).clamp(max=length - 1)
    left = images[..., lower]
    return left + (images[..., upper] - left) * (source - lower)
