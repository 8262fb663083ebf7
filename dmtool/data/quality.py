"""How alike two pictures are, value by value: PSNR and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each pair, [B]; uint8 pictures [B, C, H, W]."""
    error = ((a.double() - b.double()) ** 2).flatten(1).mean(1)
    return 10 * torch.log10(255**2 / error.clamp(min=1e-10))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each pair, [B], mean over channels; uint8 pictures [B, C, H, W].

    Wang et al. 2004: Gaussian window of 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03, borders
    left out. Raises ValueError for pictures smaller than the window.
    """
    if min(a.shape[-2:]) < 11:
        raise ValueError(f"SSIM needs pictures of 11 pixels or more, not {tuple(a.shape[-2:])}")
    x, y = (each.double().flatten(0, 1)[:, None] for each in (a, b))
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x**2) - mean_x**2, _blur(y**2) - mean_y**2
    cov = _blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    value = value / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return value.flatten(1).mean(1).unflatten(0, a.shape[:2]).mean(1)


def _blur(x: Tensor) -> Tensor:
    place = torch.arange(11, dtype=x.dtype, device=x.device) - 5
    window = torch.exp(-(place**2) / (2 * 1.5**2))
    window = window / window.sum()
    return conv2d(conv2d(x, window.view(1, 1, 1, 11)), window.view(1, 1, 11, 1))
