"""`make test-parity`: our modes against the libraries whose names they bear, on seeded weights.

They need torchvision, so this has an environment of its own (requirements-parity.txt) and is no
part of `make test`, which has its figures frozen (test_modes.py). To write those anew:

    python tests/evaluate/libraries.py tests/evaluate/libraries.json
"""

import hashlib
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from drawings import LARGE, MODES, SMALL, picture, script, weights, write
from torch import library

try:
    import torchvision  # noqa: F401
except RuntimeError:  # its operators are of another build of torch; the libraries need none
    for name in ("nms", "qnms"):
        library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")

from cleanfid import fid as cleanfid
from cleanfid.inception_torchscript import InceptionV3W
from cleanfid.resize import build_resizer
from pytorch_fid import fid_score
from pytorch_fid.inception import InceptionV3
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchmetrics.image.fid import FrechetInceptionDistance

from dmtool.config.extractors import InceptionExtractor
from dmtool.measure.features import weights as known
from dmtool.measure.features.extractors import load
from dmtool.measure.folders import compare_folders

STATE = "pt_inception-2015-12-05-6726825d.pth"
SCRIPT = "inception-2015-12-05.pt"
CPU = torch.device("cpu")


class Pool3(torch.nn.Module):
    """pytorch-fid's network up to pool3, flat."""

    def __init__(self):
        super().__init__()
        self.blocks = InceptionV3(resize_input=False, normalize_input=False).eval()

    def forward(self, x):
        return self.blocks(x)[0].flatten(1)


def place(home):
    """The seeded weights where the libraries look for them, in `home`."""
    torch.hub.set_dir(str(home))
    (home / "checkpoints").mkdir(exist_ok=True)
    torch.save(weights(), home / "checkpoints" / STATE)
    script(Pool3(), home / SCRIPT)


def ours(home, mode):
    """Our extractor, told that the seeded files are the published ones."""
    for name, path in (("STATE", home / "checkpoints" / STATE), ("SCRIPT", home / SCRIPT)):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        file = known.Weights(path.name, "", 0, sha256, script=name == "SCRIPT")
        setattr(known, f"FID_INCEPTION_{name}", file)
    path = home / SCRIPT if mode == "clean" else home / "checkpoints" / STATE
    return load(InceptionExtractor(kind="inception", mode=mode, weights=str(path)), "cpu")


def uint8(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@torch.inference_mode()
def features(home, mode, pixels):
    """What the library makes of one picture, [2048]."""
    state = str(home / "checkpoints" / STATE)
    if mode == "tf1":
        network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=state)
        found = network(uint8(pixels))[0]
    elif mode == "pytorch-fid":
        found = InceptionV3().eval()(uint8(pixels) / 255)[0]
    elif mode == "clean":
        resized = build_resizer("clean")(pixels)
        found = InceptionV3W(str(home), download=False)(
            torch.from_numpy(resized).permute(2, 0, 1)[None]
        )
    else:
        found = FrechetInceptionDistance(2048, feature_extractor_weights_path=state).inception(
            uint8(pixels)
        )
    return found.flatten().numpy()


def distance(home, mode, real, fake):
    """FID of two folders by the library's own command or class."""
    state = str(home / "checkpoints" / STATE)
    if mode == "tf1":
        return calculate_metrics(
            input1=str(fake), input2=str(real), fid=True, cuda=False, verbose=False, cache=False,
            batch_size=8, feature_extractor_weights_path=state,
        )["frechet_inception_distance"]  # fmt: skip
    if mode == "pytorch-fid":
        places = [str(real), str(fake)]
        return fid_score.calculate_fid_given_paths(places, 8, CPU, 2048, num_workers=0)
    if mode == "clean":
        network = InceptionV3W(str(home), download=False)
        return cleanfid.compute_fid(
            str(fake), str(real), mode="clean", num_workers=0, batch_size=8, device=CPU,
            custom_feat_extractor=network, verbose=False,
        )  # fmt: skip
    metric = FrechetInceptionDistance(2048, feature_extractor_weights_path=state)
    for folder, side in ((real, True), (fake, False)):
        for path in sorted(folder.iterdir()):
            metric.update(uint8(np.asarray(fid_score.Image.open(path))), real=side)
    return metric.compute().item()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("home")
    place(path)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    write(path / "real", range(32), LARGE)
    write(path / "fake", range(32, 64), LARGE, tint=40)
    return path / "real", path / "fake"


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("mode", MODES)
def test_features_are_the_librarys(home, mode, size):
    pixels = picture(0, size)
    found, expected = ours(home, mode)(uint8(pixels))[0].numpy(), features(home, mode, pixels)
    assert expected.std() > 0.1 * expected.mean() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.mean())


@pytest.mark.parametrize("mode", MODES)
def test_distances_are_the_librarys(home, folders, mode, capsys):
    expected = distance(home, mode, *folders)
    found = compare_folders(*folders, ours(home, mode), 8, ["fd"], 0)["figures"]["all"]["fd"]
    with capsys.disabled():
        print(f"\n{mode}: {found:.6f}, its library {expected:.6f}, {found / expected - 1:+.1e}")
    assert found == pytest.approx(expected, rel=1e-3)


def test_logits_are_those_of_torch_fidelitys_inception_score(home):
    state = str(home / "checkpoints" / STATE)
    network = FeatureExtractorInceptionV3(
        "x", ["logits_unbiased"], feature_extractor_weights_path=state
    )
    pixels = uint8(picture(0, SMALL))
    extractor = ours(home, "tf1")
    found = extractor.logits(extractor(pixels))
    torch.testing.assert_close(found, network(pixels)[0], rtol=1e-3, atol=1e-3)


def frozen(home):
    """The libraries' features of two pictures, every 255th."""
    return {
        mode: [features(home, mode, picture(0, size))[::255].tolist() for size in (SMALL, LARGE)]
        for mode in MODES
    }


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        place(Path(folder))
        text = json.dumps(frozen(Path(folder)), indent=1)
    Path(sys.argv[1]).write_text(text + "\n")
