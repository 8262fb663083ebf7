"""FID's Inception: its structure, and its output on weights drawn from a seed.

STRUCTURE and FEATURES were computed once by other implementations: the first is that of
pytorch-fid 0.3.0's network (torchvision 0.28.0 with FID's blocks), the second is what
torch-fidelity 0.4.0's `inception-v3-compat` makes of the same weights and pictures.
"""

import hashlib

import numpy as np
import pytest
import torch

from dmtool.measure.features.resize import tf1_bilinear
from dmtool.nn.inception import FIDInception, average_pool, drawn

STRUCTURE = "8ca497103391675d239b6cbe936a080934f935dfd57b70343674200035f2c5e8"
FEATURES = [
    [1.232711, 2.277946, 3.042892, 0.031052, 0.158422, 5.064023, 0.0, 0.070617, 4.341425],
    [1.30917, 2.14263, 2.969434, 0.033914, 0.135935, 4.980926, 0.002491, 0.08746, 4.218065],
]


def pictures():
    return torch.from_numpy(np.random.RandomState(1).randint(0, 256, (2, 3, 64, 70), np.uint8))


def structure(state):
    lines = [f"{name} {list(value.shape)}" for name, value in state.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_names_shapes_and_count_are_those_of_the_published_network():
    with torch.device("meta"):
        network = FIDInception()
    assert structure(network.state_dict()) == STRUCTURE
    # torchvision's inception_v3 without head and auxiliary head, and the head of 1,008 classes
    assert sum(p.numel() for p in network.parameters()) == 21_785_568 + 2048 * 1008 + 1008


@torch.inference_mode()
def test_the_features_are_those_of_torch_fidelity():
    network = FIDInception().eval()
    network.load_state_dict(drawn(0))
    features = network((tf1_bilinear(pictures().float(), 299) - 128) / 128)
    assert features.shape == (2, 2048)
    assert features[:, ::255].numpy() == pytest.approx(np.array(FEATURES), rel=1e-3, abs=1e-5)


def test_average_pools_do_not_count_the_padding():
    assert torch.equal(average_pool(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))
