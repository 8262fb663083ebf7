"""What codes are, and who takes which."""

import pytest
import torch
from cards import SHA

from dmtool.codecs import Continuous, Discrete, continuous, load, load_codec
from dmtool.codecs.codec import KINDS
from dmtool.errors import UserError
from dmtool.generators.diffusion import DiffusionModel
from dmtool.runs import Artifact, artifact

CPU = torch.device("cpu")


class Coarse:
    """Ids of sixteen grey values, one for each 4 x 4 pixels."""

    space, space_id = Discrete(vocabulary=16, factor=4), SHA

    def encode(self, pictures):
        grey = torch.nn.functional.avg_pool2d(pictures.mean(1, keepdim=True), 4)[:, 0]
        return ((grey + 1) * 7.5).round().long()

    def decode(self, codes):
        greys = (codes / 7.5 - 1)[:, None].expand(-1, 3, -1, -1)
        return greys.repeat_interleave(4, 2).repeat_interleave(4, 3)


@pytest.fixture
def coarse(tmp_path, monkeypatch):
    """An autoencoder's artifact of another kind, and a child of it."""
    monkeypatch.setitem(KINDS, "coarse", lambda found, device: Coarse())
    vae = Artifact(tmp_path / "vae", {"kind": "coarse", "role": "autoencoder", "space_id": SHA})
    vae.path.mkdir()
    monkeypatch.setattr(artifact, "load", lambda path: vae)
    child = {"resolution": 32, "latent": {"channels": 1, "size": 8}, "space_id": SHA}
    parents = {"vae": {"path": "../vae", "role": "autoencoder", "sha256": SHA}}
    (tmp_path / "unet").mkdir()
    return vae, Artifact(tmp_path / "unet", child | {"parents": parents})


def test_a_kind_makes_its_own_codec_whose_codes_are_of_its_space(coarse):
    codec = load(coarse[0], CPU)
    codes = codec.encode(torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32))
    assert codes.shape == (2, *codec.space.shape(32)) == (2, 8, 8)
    assert codes.min() >= 0 and codes.max() < codec.space.vocabulary
    assert codec.decode(codes).shape == (2, 3, 32, 32)
    assert Continuous(channels=5, factor=4).shape(32) == (5, 8, 8)


def test_noise_goes_with_numbers_alone(coarse):
    vae, child = coarse
    says = "ids below 16, and a noise predictor needs numbers"
    with pytest.raises(UserError, match=says):
        continuous(load(vae, CPU).space)
    with pytest.raises(UserError, match=says):
        DiffusionModel(child, None, None, CPU).density(None, load(vae, CPU).space)
    with pytest.raises(UserError, match="makes codes of 8 x 8"):
        load_codec(child, CPU)
