"""A network without self-attention: the same weights, and positions that do not see each other."""

import pytest
import torch
from test_networks import SMALL, alive, inputs

from dmtool.nn.layers import Attention
from dmtool.nn.perturbed import Identity, perturbed
from dmtool.nn.unet import UNet


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return alive(UNet(**SMALL)).eval()


def found(unet, size):
    return unet(**inputs(size=size) | {"extras": {}})


def test_identity_is_attention_of_each_position_to_itself_alone():
    torch.manual_seed(0)
    attention, x = Attention(16, heads=4).double(), torch.randn(2, 5, 16, dtype=torch.float64)
    alone = attention(x.reshape(10, 1, 16)).reshape(2, 5, 16)
    torch.testing.assert_close(Identity(attention)(x), alone)
    assert (attention(x) - alone).abs().max() > 0.01


def test_where_there_is_but_one_position_nothing_is_lost(unet):
    worse = perturbed(unet, [-1])  # the level that 2 x 2 pixels reach as one
    torch.testing.assert_close(found(worse, 2), found(unet, 2))
    assert (found(worse, 8) - found(unet, 8)).abs().max() > 1e-3


def test_all_weights_are_shared_and_the_network_keeps_its_attention(unet):
    before, worse = found(unet, 8), perturbed(unet, [-1])
    assert {*map(id, worse.parameters())} < {*map(id, unet.parameters())}
    assert torch.equal(found(unet, 8), before)
    assert sum(isinstance(module, Identity) for module in worse.modules()) == 6  # 2, 1 and 3
    worse_before = found(worse, 8)
    with torch.no_grad():
        unet.conv_in.weight.mul_(2)
    assert (found(worse, 8) - worse_before).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("levels", "says"), [([0], r"no self-attention at \[0\], only at \[1\]"), ([2], "no level 2"),
                         ([-3], "no level -3, only 0 to 1")]
)  # fmt: skip
def test_levels_without_self_attention_are_refused(unet, levels, says):
    with pytest.raises(ValueError, match=says):
        perturbed(unet, levels)
