"""Stages whose figures are known: the identity, and bicubic enlargement for an upsampler."""

import numpy as np
import pytest
import torch
from PIL import Image

from dmtool.codecs.pixels import Pixels
from dmtool.config.compose import composed
from dmtool.config.using import HasData
from dmtool.config.validation import validate
from dmtool.data.transforms import to_image, to_pixels, to_tensor
from dmtool.errors import UserError
from dmtool.measure import real_pictures
from dmtool.measure.decoders import decoders, pairs
from dmtool.measure.decoders.pairs import Meter
from dmtool.measure.decoders.perceptual import PerceptualDistance
from dmtool.measure.decoders.upsampling import Enlargement, lanczos
from dmtool.measure.decoders.vae import Reconstruction
from dmtool.measure.features.features import FeatureExtractor
from dmtool.processes import ALONE
from dmtool.upsamplers.upsampler import enlarge

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def real():
    words = ["data=shapes", "data.count=60", "data.size=32", "data.test=0.3"]
    return real_pictures.of_data(
        validate({"data": composed("inspect", words).data}, HasData).data, 32
    )


@pytest.fixture
def meter():
    """Features: the means of four quarters; perceptual distance: of the pictures' colours."""
    extractor = FeatureExtractor(
        kind="test", name="FD-quarters", sha256="0" * 64, dim=12, protocol={}, device=CPU,
        prepare=lambda images: torch.nn.functional.adaptive_avg_pool2d(images, 2),
        network=torch.nn.Flatten(),
    )  # fmt: skip
    return Meter(extractor, PerceptualDistance("colour", {}, CPU, lambda x: [x.float()]))


def enlargement(through):
    return Enlargement(
        lambda small, prompts, keys: through(small), factor=2, resolution=32, seed=0, device=CPU,
        dtype=torch.float32, how={},
    )  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_identity_loses_nothing(real, meter, batch_size):
    rows = real.rows(None, "test")
    decoder = Reconstruction(Pixels(), 32, CPU, torch.float32)
    measured, moments = decoders.measure(decoder, real, rows, meter, batch_size, ALONE)
    figures = pairs.summary(measured, "reconstruction")
    assert len(measured) == len(rows) and figures["fd"] == pytest.approx(0, abs=1e-6)
    assert figures["psnr"]["q5"] > 140 and figures["ssim"]["mean"] == pytest.approx(1)
    assert figures["distance"]["mean"] == pytest.approx(0, abs=1e-6)
    pixels = to_tensor(real.take(rows)).double().movedim(1, -1).flatten(0, -2).numpy()
    latents = decoders._latents(moments)
    np.testing.assert_allclose(latents["mean"], pixels.mean(0), atol=1e-6)
    np.testing.assert_allclose(latents["std"], pixels.std(0, ddof=1), rtol=1e-6)


def test_a_known_error_has_its_figures_and_the_worst_come_first(real, meter):
    """Picture i of the split is made i + 1 grey levels brighter or darker."""
    rows = real.rows(8, "test")
    step = {row: place + 1 for place, row in enumerate(rows)}

    class Off(Reconstruction):
        def __call__(self, pictures, prompts, rows):
            off = torch.tensor([step[row] for row in rows])[:, None, None, None]
            made = torch.where(pictures > 127, pictures - off, pictures + off).to(torch.uint8)
            return pairs.Results({"reconstruction": made})

    decoder = Off(Pixels(), 32, CPU, torch.float32)
    measured, moments = decoders.measure(decoder, real, rows, meter, 3, ALONE)
    assert moments is None and pairs.worst(measured, 3) == [7, 6, 5]
    expected = [20 * np.log10(255 / (place + 1)) for place in range(8)]
    assert [pair.own["psnr"] for pair in measured] == pytest.approx(expected)
    found = pairs.summary(measured, "reconstruction")["psnr"]
    assert found["mean"] == pytest.approx(np.mean(expected))
    assert found["std"] == pytest.approx(np.std(expected))
    assert found["q50"] == pytest.approx(np.median(expected))


def test_an_upsampler_that_is_bicubic_has_its_figures(real, meter):
    rows = real.rows(9, "test")
    same = enlargement(lambda small: enlarge(small, 2))
    measured, _ = decoders.measure(same, real, rows, meter, 4, ALONE)
    ours, bicubic, other = (
        pairs.summary(measured, name) for name in ("upsampler", "bicubic", "lanczos")
    )
    assert ours == bicubic != other
    assert list(measured[0].made) == ["upsampler", "bicubic", "lanczos"]
    assert 20 < bicubic["consistency"]["mean"] < 60


def test_consistency_is_with_the_small_picture_by_the_trainings_kernel(real, meter):
    """A large picture of 2 x 2 blocks, made small by Pillow's antialiased bicubic."""
    rows = real.rows(5, "test")
    blocks = enlargement(lambda small: small.repeat_interleave(2, 2).repeat_interleave(2, 3))
    measured, _ = decoders.measure(blocks, real, rows, meter, 2, ALONE)

    def half(image):
        return image.resize((16, 16), Image.Resampling.BICUBIC)

    for pair, pixels in zip(measured, real.take(rows), strict=True):
        small = half(to_image(pixels))
        again = half(small.resize((32, 32), Image.Resampling.NEAREST))
        error = np.mean((np.asarray(small).astype(float) - np.asarray(again)) ** 2)
        assert pair.own["consistency"] == pytest.approx(10 * np.log10(255**2 / error), abs=0.1)


def test_lanczos_is_pillows():
    pixels = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    found = lanczos(pixels, 4)
    expected = to_image(pixels[1]).resize((28, 20), Image.Resampling.LANCZOS)
    assert found.shape == (2, 3, 20, 28) and torch.equal(found[1], to_pixels(expected))


def test_rows_are_evenly_spread_over_splits(real):
    every = real.rows(None, "train", "val", "test")
    assert every == list(range(60)) and real.rows(3, "train", "val", "test") == [0, 20, 40]
    with pytest.raises(UserError, match="the split val has 1 picture"):
        keep = real.splits.copy()
        keep[:], keep[0] = "train", "val"
        real_pictures.RealPictures(real.pictures, real.keys, real.captions, keep, "").rows(
            None, "val"
        )
