"""PSNR in closed form; SSIM against its definition by scipy's Gaussian filter."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dmtool.data.quality import psnr, ssim


def pictures(batch=3, height=24, width=17):
    noise = np.random.default_rng(0).normal(size=(2, batch, 3, height, width))
    smooth = gaussian_filter(noise[0], (0, 0, 2, 2)) * 300 + 128
    a, b = smooth, smooth + noise[1] * np.array([1, 10, 60])[:batch, None, None, None]
    return (torch.from_numpy(each.clip(0, 255).astype(np.uint8)) for each in (a, b))


def by_definition(x, y):
    """Equations 13 to 17 of Wang et al. 2004 for one channel, at the pixels that see no border."""

    def mean(z):
        return gaussian_filter(z, 1.5, radius=5)[5:-5, 5:-5]

    x, y = x.astype(float), y.astype(float)
    variance_x, variance_y = mean(x * x) - mean(x) ** 2, mean(y * y) - mean(y) ** 2
    covariance, c1, c2 = mean(x * y) - mean(x) * mean(y), 6.5025, 58.5225
    luminance = (2 * mean(x) * mean(y) + c1) / (mean(x) ** 2 + mean(y) ** 2 + c1)
    return (luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)).mean()


def test_psnr_of_known_errors():
    black = torch.zeros(3, 3, 4, 5, dtype=torch.uint8)
    other = black.clone()
    other[0] += 255
    other[1] += 1
    other[2, 0, 0, 0] = 255
    expected = [0, 20 * math.log10(255), 10 * math.log10(60)]
    assert psnr(black, other).tolist() == pytest.approx(expected)
    assert torch.equal(psnr(other, black), psnr(black, other))
    assert psnr(black, black).isfinite().all() and psnr(black, black).min() > 100


def test_ssim_is_its_definition():
    a, b = pictures()
    expected = [
        np.mean([by_definition(x, y) for x, y in zip(xs, ys, strict=True)])
        for xs, ys in zip(a.numpy(), b.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ssim(a, b), expected, rtol=1e-9)
    assert expected[0] > 0.9 > 0.7 > expected[2]
    np.testing.assert_allclose(ssim(b, a), expected, rtol=1e-9)


def test_ssim_of_equal_and_of_flat_pictures():
    a, _ = pictures()
    torch.testing.assert_close(ssim(a, a), torch.ones(3, dtype=torch.float64))
    flat = torch.full_like(a, 100)
    luminance = (2 * 100 * 50 + 6.5025) / (100**2 + 50**2 + 6.5025)
    assert ssim(flat, flat // 2).tolist() == pytest.approx([luminance] * 3)


@pytest.mark.parametrize(("height", "width"), [(10, 32), (32, 10)])
def test_ssim_refuses_what_is_smaller_than_its_window(height, width):
    small = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    with pytest.raises(ValueError, match="11 pixels or more, not"):
        ssim(small, small)
    assert ssim(*[torch.zeros(1, 1, 11, 11, dtype=torch.uint8)] * 2).tolist() == [1]
