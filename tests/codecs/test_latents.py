"""Whitening against numpy, and the cache of latents."""

import numpy as np
import pytest
import torch
from cards import VAE
from torch import nn

from dmtool.codecs import cached, load
from dmtool.codecs.latents import Latents, whitening
from dmtool.codecs.pixels import Pixels
from dmtool.files import shards
from dmtool.nn.autoencoder import kl_autoencoder
from dmtool.runs import save

CPU = torch.device("cpu")
ARGUMENTS = {
    "patch": 2, "widths": [8, 16], "encoder_blocks": 1, "decoder_blocks": 1, "middle": False,
    "latent_channels": 5, "groups": 4,
}  # fmt: skip


@pytest.fixture
def network():
    torch.manual_seed(0)
    return kl_autoencoder(**ARGUMENTS).eval()


@pytest.fixture
def pictures():
    return torch.rand(20, 3, 8, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def card(measured):
    latent = {"channels": 5, "whitening": measured}
    return VAE | {"network": ARGUMENTS, "latent": latent, "factor": 4}


@torch.no_grad()
def test_whitening_is_the_mean_and_deviation_whatever_the_batches(network, pictures):
    nn.init.constant_(network.encoder[-1].bias, 100.0)  # far from zero, where sums lose digits
    z = network.encode(pictures).double().numpy()
    for sizes in ([20], [7, 7, 6], [1] * 20):
        found = whitening(network, pictures.split(sizes))
        np.testing.assert_allclose(found["mean"], z.mean((0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(found["std"], z.std((0, 2, 3)), rtol=1e-3)


@torch.no_grad()
def test_the_codec_of_an_artifact_whitens_and_decodes_what_it_encodes(network, pictures, tmp_path):
    measured = whitening(network, [pictures])
    codec = load(save(tmp_path / "default", network.state_dict(), card(measured)), CPU)
    z = codec.encode(pictures)
    assert z.shape == (20, 5, 2, 4) and (codec.space.channels, codec.space.factor) == (5, 4)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(5), rtol=0, atol=1e-4)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(5), rtol=0, atol=1e-4)
    expected = network.decode(network.encode(pictures))
    torch.testing.assert_close(codec.decode(z), expected, rtol=1e-4, atol=1e-5)


def test_pixels_are_their_own_latents(pictures):
    codec = load(None, CPU)
    assert isinstance(codec, Pixels) and torch.equal(codec.decode(codec.encode(pictures)), pictures)


@pytest.fixture
def codec(network, tmp_path, monkeypatch):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    return Latents(network, card({"mean": [0.1] * 5, "std": [0.5] * 5}), CPU)


def rows_of(found, count=20):
    return torch.stack([found[row] for row in range(count)])


def test_latents_are_encoded_once_in_order_and_addressed_by_all_they_depend_on(
    codec, pictures, monkeypatch
):
    monkeypatch.setattr(shards, "ROWS", 7)
    read = []

    def some(rows):
        read.extend(rows)
        return pictures[rows.start : rows.stop]

    def latents(dtype=torch.float32, **key):
        read.clear()
        return rows_of(cached(codec, some, 20, 128, {"data": "x", **key}, CPU, dtype))

    found = latents()
    assert set(read) == set(range(20))
    torch.testing.assert_close(found, codec.encode(pictures), rtol=1e-3, atol=1e-5)
    assert torch.equal(latents(), found) and not read
    assert torch.equal(latents(split="val"), found) and read
    assert latents(torch.bfloat16).isfinite().all() and read
    codec.space_id = "another"
    assert torch.equal(latents(), found) and read


def test_a_data_set_without_pictures_has_no_latents(codec):
    assert not cached(codec, pytest.fail, 0, 128, {}, CPU, torch.float32).shards.files
