"""The modes of FID's Inception against what the libraries made of the same seeded weights.

libraries.json was written by libraries.py, with torch-fidelity 0.4.0, pytorch-fid 0.3.0, clean-fid
0.1.35 and torchmetrics 1.9.0: features of one picture smaller than 299 pixels and one larger.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import LARGE, MODES, SMALL, picture, script, weights

from dmtool.config.extractors import InceptionExtractor, RandomExtractor
from dmtool.errors import UserError
from dmtool.measure.features import weights as known
from dmtool.measure.features.extractors import load
from dmtool.nn.inception import FIDInception

LIBRARIES = json.loads((Path(__file__).parent / "libraries.json").read_text())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The two published files, made of seeded weights."""
    home = tmp_path_factory.mktemp("weights")
    torch.save(weights(), home / known.FID_INCEPTION_STATE.file)
    network = FIDInception()
    network.load_state_dict(weights())
    script(network, home / known.FID_INCEPTION_SCRIPT.file)
    return home


@pytest.fixture
def extractor(files, monkeypatch):
    """`extractor(mode)`, for which the seeded files are the published ones."""
    for name in ("FID_INCEPTION_STATE", "FID_INCEPTION_SCRIPT"):
        file = getattr(known, name)
        found = hashlib.sha256((files / file.file).read_bytes()).hexdigest()
        monkeypatch.setattr(known, name, replace(file, sha256=found))

    def made(mode, script=False):
        file = known.FID_INCEPTION_SCRIPT if script else known.FID_INCEPTION_STATE
        path = str(files / file.file)
        return load(InceptionExtractor(kind="inception", mode=mode, weights=path), "cpu")

    return made


def pixels(size):
    return torch.from_numpy(picture(0, size)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("mode", MODES)
def test_features_are_those_of_the_library(extractor, mode):
    made = extractor(mode, script=mode == "clean")
    assert made.name == f"FID[{mode}]" and made.protocol["mode"] == mode
    found = [made(pixels(size))[0, ::255].numpy() for size in (SMALL, LARGE)]
    np.testing.assert_allclose(found, LIBRARIES[mode], rtol=1e-3, atol=1e-3)


def test_modes_are_apart():
    """The tolerance above tells them from one another."""
    for i, one in enumerate(MODES):
        for two in MODES[i + 1 :]:
            assert not np.allclose(LIBRARIES[one], LIBRARIES[two], rtol=3e-3, atol=3e-3)


def test_tf1_takes_both_files_and_only_the_state_has_logits(extractor):
    state, scripted = extractor("tf1"), extractor("tf1", script=True)
    features = state(pixels(SMALL))
    torch.testing.assert_close(scripted(pixels(SMALL)), features, rtol=1e-3, atol=1e-3)
    expected = features @ weights()["fc.weight"].T  # without the bias
    torch.testing.assert_close(state.logits(features), expected)
    with pytest.raises(UserError, match="no classifier"):
        scripted.logits(features)


def test_a_mode_refuses_the_other_file(extractor):
    with pytest.raises(UserError, match="another network's"):
        extractor("clean")
    with pytest.raises(UserError, match="another network's"):
        extractor("tm", script=True)


def test_random_weights_follow_their_seed_and_are_never_fid():
    one, again, other = (load(RandomExtractor(kind="random", seed=s), "cpu") for s in (0, 0, 1))
    assert one.name == "FD-random-0" and "FID" not in str(one.describe())
    assert one.sha256 == again.sha256 != other.sha256
    features = one(pixels(SMALL))
    assert torch.equal(features, again(pixels(SMALL))) and features.std() > 0.1
