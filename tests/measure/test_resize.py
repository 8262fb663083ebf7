"""Resizes against the numbers and the libraries that define them."""

import numpy as np
import pytest
import torch
from PIL import Image

from dmtool.measure.features.preparation import RESIZES, Preparation, _middle
from dmtool.measure.features.resize import (
    antialiased_bicubic,
    antialiased_bilinear,
    bilinear,
    pillow_bicubic,
    tf1_bilinear,
)


def test_tf1_ramp():
    row = tf1_bilinear(torch.tensor([0.0, 255.0]).view(1, 1, 1, 2), 299)[0, 0, 0]
    assert row[0] == 0 and row[1].item() == pytest.approx(2 / 299 * 255)
    assert (row < 255).sum() == 150 and row[150:].eq(255).all()
    assert row.mean().item() == pytest.approx(190.8229, abs=1e-4)


def test_tf1_keeps_what_fits_and_reads_every_other_pixel_at_half():
    images = torch.rand(2, 3, 299, 299)
    assert torch.equal(tf1_bilinear(images, 299), images)
    images = torch.rand(1, 3, 8, 16)
    assert torch.equal(tf1_bilinear(images, 4), images[:, :, ::2, ::4])


@pytest.mark.parametrize("size", [(20, 31), (150, 90)])
def test_bicubic_is_pillows(size):
    pixels = np.random.default_rng(0).integers(0, 256, size).astype(np.float32)
    pillow = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
    ours = antialiased_bicubic(torch.from_numpy(pixels)[None, None], 64)[0, 0]
    np.testing.assert_allclose(ours, np.clip(np.asarray(pillow), 0, 255), atol=1e-3)


def test_half_pixels_keep_the_mean_of_a_ramp():
    row = bilinear(torch.tensor([0.0, 255.0]).view(1, 1, 1, 2), (1, 299))[0, 0, 0]
    assert row.mean().item() == pytest.approx(127.5, abs=1e-4)
    assert row[74] == 0 and row[75].item() == pytest.approx((75.5 * 2 / 299 - 0.5) * 255)


def test_antialiased_bilinear_is_pillows():
    pixels = np.random.default_rng(0).integers(0, 256, (150, 90)).astype(np.float32)
    pillow = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)
    ours = antialiased_bilinear(torch.from_numpy(pixels)[None, None], 64)[0, 0]
    np.testing.assert_allclose(ours, np.asarray(pillow), atol=1e-3)


def test_pillows_bicubic_is_rounded_and_of_the_size_that_is_asked():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    pillow = Image.fromarray(pixels).resize((16, 12), Image.Resampling.BICUBIC)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    found = pillow_bicubic(images, (12, 16))
    assert torch.equal(found[0].permute(1, 2, 0), torch.from_numpy(np.array(pillow)).float())


def test_of_a_long_picture_a_crop_costs_its_middle_alone(monkeypatch):
    prepared = Preparation(16, "bicubic", (0, 0, 0), (1, 1, 1), fit="crop")
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 4, 100))).float()
    whole = _middle(antialiased_bicubic(images, (16, 400)), 16)
    shapes = []
    monkeypatch.setitem(RESIZES, "bicubic", (lambda x, size: (
        shapes.append(size), antialiased_bicubic(x, size))[1], ""))  # fmt: skip
    torch.testing.assert_close(prepared(images), whole, rtol=0, atol=0.01)
    prepared(torch.zeros(1, 3, 1, 20_000))
    assert shapes == [(16, 256), (16, 256)]
