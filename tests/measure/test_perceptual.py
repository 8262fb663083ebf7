"""The perceptual distance in closed form, and its layers against networks seen as a whole."""

import math

import pytest
import torch

from dmtool.config.evaluating import Lpips, PackagedPerceptual
from dmtool.config.extractors import EffNetExtractor
from dmtool.errors import UserError
from dmtool.measure.decoders import perceptual
from dmtool.measure.decoders.perceptual import distance
from dmtool.measure.features import extractors
from dmtool.nn.lpips import LPIPSFeatures

CPU = torch.device("cpu")
GOLDEN = {"alex": [0.0194906183, 0.0187006202], "vgg": [0.0023911733, 0.0023853616]}


def test_distances_between_unit_vectors_are_added_over_layers():
    x, y = torch.zeros(2, 1, 3, 4, 4)
    x[:, 0], y[:, 1] = 5, 0.1  # orthogonal: |x - y|^2 = 2, whatever the lengths
    half = torch.cat([x[..., :2], y[..., 2:]], dim=-1)
    assert distance([x], [y], None).tolist() == pytest.approx([2])
    assert distance([x, x], [y, half], None).tolist() == pytest.approx([2 + 1])
    weights = [torch.tensor([0.5, 3, 7])]
    assert distance([x], [y], weights).tolist() == pytest.approx([0.5 + 3])
    assert distance([x], [3 * x], None).tolist() == pytest.approx([0], abs=1e-9)


def test_the_stand_ins_layers_are_those_of_the_extractor():
    found = perceptual.load(PackagedPerceptual(kind="effnet_lite0"), 32, CPU)
    extractor = extractors.load(EffNetExtractor(kind="effnet_lite0", weights=None), CPU)
    pictures = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    network = next(part for part in extractor.network.modules() if hasattr(part, "_blocks"))
    with torch.inference_mode():
        maps = found.maps(pictures)
        head = network._swish(network._bn1(network._conv_head(maps[-1])))
    assert [each.shape[-1] for each in maps] == [112, 56, 28, 14, 7]
    torch.testing.assert_close(head.mean((2, 3)), extractor(pictures))
    assert found(pictures, pictures).tolist() == [0, 0]
    noisy = (pictures.int() + 20 * torch.randn(pictures.shape)).clamp(0, 255).byte()
    assert 0 < found(pictures, noisy).min() < found(pictures, pictures.flip(0)).min()
    assert found.name == "EffNetLite0-feature distance" and "LPIPS" not in str(found.describe())


def filled(shape):
    """Numbers that look random, for any number of dimensions, the same on every machine."""
    count = math.prod(shape)
    values = torch.cos(torch.arange(count, dtype=torch.float64) * 12.9898 + count)
    return (values / math.sqrt(math.prod(shape[1:]) or 1)).float().view(shape)


@pytest.mark.parametrize(("network", "expected"), GOLDEN.items())
def test_lpips_is_that_of_its_package(network, expected):
    """The figures are those of lpips 0.1.4 and torchvision 0.29.1 with these weights."""
    ours = LPIPSFeatures(network)
    state = {name: 3 * filled(each.shape) for name, each in ours.state_dict().items()}
    ours.load_backbone(state | {"classifier.1.weight": torch.zeros(1)})
    a, b = (
        (filled((2, 3, 48, 40)) * 9).clamp(-1, 1),
        (filled((3, 2, 48, 40)) * 5).view(2, 3, 48, 40),
    )
    with torch.no_grad():
        maps = ours(a), ours(b.clamp(-1, 1))
    weights = [filled((each.shape[1],)).abs() for each in maps[0]]
    assert distance(*maps, weights).tolist() == pytest.approx(expected, rel=1e-4)


def test_lpips_never_takes_other_weights_and_refuses_pictures_that_are_too_small(tmp_path):
    config = Lpips(kind="lpips", network="alex", backbone=str(tmp_path / "no"), linear=None)
    with pytest.raises(UserError, match="no file of weights at"):
        perceptual.load(config, 31, CPU)
    (tmp_path / "no").write_bytes(b"other")
    with pytest.raises(UserError, match="not 7be5be79"):
        perceptual.load(config, 31, CPU)
    with pytest.raises(UserError, match="31 pixels or more, these have 30"):
        perceptual.load(config, 30, CPU)
