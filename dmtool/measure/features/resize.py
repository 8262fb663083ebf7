"""How pictures reach the size that an extractor was made for: part of the metric's definition.

All take float pictures [B, C, H, W] in [0, 255] and give the same of `size`, a square's side or
(height, width), in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

Size = int | tuple[int, int]
Resize = Callable[[Tensor, Size], Tensor]


def bilinear(images: Tensor, size: Size) -> Tensor:
    """Between the four nearest pixels' centres, with no antialiasing: pytorch-fid's."""
    return functional.interpolate(images, size, mode="bilinear", align_corners=False)


def antialiased_bilinear(images: Tensor, size: Size) -> Tensor:
    """The same with antialiasing: torchmetrics'."""
    return functional.interpolate(
        images, size, mode="bilinear", align_corners=False, antialias=True
    )


def antialiased_bicubic(images: Tensor, size: Size) -> Tensor:
    """Clamped to [0, 255] and not rounded: what Pillow makes of floats, and clean-fid's."""
    resized = functional.interpolate(
        images, size, mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(0, 255)


def pillow_bicubic(images: Tensor, size: Size) -> Tensor:
    """Pillow's own, antialiased and rounded to 8 bits: DINOv2's and CLIP's."""
    height, width = _sides(size)
    pixels = images.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    pictures = [Image.fromarray(each).resize((width, height), 3) for each in pixels]
    resized = torch.from_numpy(np.stack([np.asarray(each) for each in pictures]))
    return resized.to(images.device).permute(0, 3, 1, 2).float()


def tf1_bilinear(images: Tensor, size: Size) -> Tensor:
    """TensorFlow 1's `resize_bilinear`, the resize inside the graph that defined FID.

    Pixel i is read at i * in / out, with no antialiasing and no half-pixel shift, between its
    lower and upper neighbour (the latter kept inside the picture).
    """
    height, width = _sides(size)
    return _tf1_last_axis(_tf1_last_axis(images, width).mT, height).mT.contiguous()


def _tf1_last_axis(images: Tensor, size: int) -> Tensor:
    length = images.shape[-1]
    source = torch.arange(size, device=images.device, dtype=torch.float32) * (length / size)
    lower = source.long()
    upper = (lower + 1).clamp(max=length - 1)
    left = images[..., lower]
    return left + (images[..., upper] - left) * (source - lower)


def _sides(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
