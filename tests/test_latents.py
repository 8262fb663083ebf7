"""Whitening against numpy, and the cache of latents."""

import numpy as np
import pytest
import torch
from torch import nn

from dmtool.latents import Latents, Pixels, cached, load, whitening
from dmtool.nn.autoencoder import Autoencoder
from dmtool.runs import save

CPU = torch.device("cpu")
ARGUMENTS = {
    "patch": 2, "widths": [8, 16], "encoder_blocks": 1, "decoder_blocks": 1, "middle": False,
    "latent_channels": 5, "groups": 4,
}  # fmt: skip


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Autoencoder(**ARGUMENTS).eval()


@pytest.fixture
def pictures():
    return torch.rand(20, 3, 8, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def card(measured):
    latent = {"channels": 5, "whitening": measured}
    return {"network": ARGUMENTS, "latent": latent, "factor": 4, "space_id": "abc"}


@torch.no_grad()
def test_whitening_is_the_mean_and_deviation_whatever_the_batches(network, pictures):
    nn.init.constant_(network.encoder[-1].bias, 100.0)  # far from zero, where sums lose digits
    z = network.encode(pictures)[0].double().numpy()
    for sizes in ([20], [7, 7, 6], [1] * 20):
        found = whitening(network, pictures.split(sizes))
        np.testing.assert_allclose(found["mean"], z.mean((0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(found["std"], z.std((0, 2, 3)), rtol=1e-3)


@torch.no_grad()
def test_the_codec_of_an_artifact_whitens_and_decodes_what_it_encodes(network, pictures, tmp_path):
    measured = whitening(network, [pictures])
    codec = load(save(tmp_path / "default", network.state_dict(), card(measured)), CPU)
    z = codec.encode(pictures)
    assert z.shape == (20, 5, 2, 4) and (codec.channels, codec.factor) == (5, 4)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(5), rtol=0, atol=1e-4)
    torch.testing.assert_close(z.std((0, 2, 3), correction=0), torch.ones(5), rtol=0, atol=1e-4)
    expected = network.decode(network.encode(pictures)[0])
    torch.testing.assert_close(codec.decode(z), expected, rtol=1e-4, atol=1e-5)


def test_pixels_are_their_own_latents(pictures):
    codec = load(None, CPU)
    assert isinstance(codec, Pixels) and torch.equal(codec.decode(codec.encode(pictures)), pictures)


def test_latents_are_encoded_once_in_order_and_addressed_by_all_they_depend_on(
    network, pictures, tmp_path, monkeypatch
):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path))
    codec = Latents(network, card({"mean": [0.1] * 5, "std": [0.5] * 5}), CPU)
    read = []

    def stream():
        for batch in pictures.split(7):
            read.append(len(batch))
            yield batch

    def latents(**key):
        return cached(codec, stream(), (20, 5, 2, 4), {"data": "x", **key}, CPU, torch.float32)

    found = latents()
    assert found.dtype == np.float16 and isinstance(found, np.memmap) and read == [7, 7, 6]
    np.testing.assert_allclose(found, codec.encode(pictures).numpy(), rtol=1e-3, atol=1e-5)
    assert np.array_equal(latents(), found) and read == [7, 7, 6]
    latents(split="val")
    codec.space_id = "another"
    latents()
    assert read == [7, 7, 6] * 3


def test_a_wrong_number_of_pictures_leaves_nothing_behind(network, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path))
    codec = Latents(network, card({"mean": [0.0] * 5, "std": [1.0] * 5}), CPU)
    with pytest.raises(AssertionError):
        cached(codec, [pictures], (21, 5, 2, 4), {}, CPU, torch.float32)
    assert not list((tmp_path / "latents").iterdir())
