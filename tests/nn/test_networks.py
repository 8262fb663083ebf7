"""The U-Net and the autoencoder: what they do to shapes, padding, conditions and gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dmtool.nn.autoencoder import kl_autoencoder
from dmtool.nn.layers import explicit_attention as attention
from dmtool.nn.unet import UNet

SMALL = {
    "channels": 3, "patch": 1, "widths": [16, 32], "blocks": [1, 2], "depths": [0, 1],
    "middle_depth": 1, "heads": 4, "groups": 8, "modulation": "scale_shift", "gate": "silu",
    "text_dim": 12, "pooled_dim": 6, "text_width": 8, "dropout": 0.0, "images": {}, "levels": [],
    "residual": None,
}  # fmt: skip
EXTRA = {"images": {"low": 2}, "levels": ["low_level"], "patch": 2}
AUTOENCODER = {
    "patch": 2, "widths": [16, 32], "encoder_blocks": 1, "decoder_blocks": 2, "middle": True,
    "latent_channels": 5, "groups": 8,
}  # fmt: skip


def alive(network):
    """With random weights where residual branches begin with zeros."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return network


def inputs(batch=3, size=8):
    torch.manual_seed(1)
    return {
        "x": torch.randn(batch, 3, size, size),
        "level": torch.rand(batch) * 1000,
        "states": torch.randn(batch, 7, 12),
        "mask": torch.arange(7) < torch.tensor([[7], [2], [4]])[:batch],
        "pooled": torch.randn(batch, 6),
        "extras": {"low": torch.randn(batch, 2, size, size), "low_level": torch.rand(batch) * 1000},
    }


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return alive(UNet(**SMALL | EXTRA))


@pytest.mark.parametrize("masked", [True, False])
def test_explicit_attention_is_the_fused_one_with_its_gradient(masked):
    torch.manual_seed(0)
    mask = torch.arange(5) < torch.tensor([[5], [2], [1]]) if masked else None
    shapes = (3, 2, 4, 8), (3, 2, 5, 8), (3, 2, 5, 6)
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    fused = F.scaled_dot_product_attention(
        *leaves, attn_mask=None if mask is None else mask[:, None, None]
    )
    gradient = torch.randn_like(fused)
    expected = torch.autograd.grad(fused, leaves, gradient)
    explicit = attention(*leaves, mask)
    torch.testing.assert_close(explicit, fused, rtol=1e-5, atol=1e-6)  # its softmax is float32
    for found, wanted in zip(
        torch.autograd.grad(explicit, leaves, gradient), expected, strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(attention(*leaves, mask), explicit, rtol=1e-5, atol=1e-6)


def test_a_new_network_predicts_nothing():
    assert not UNet(**SMALL | EXTRA)(**inputs()).any()


@pytest.mark.parametrize("modulation", ["add", "scale_shift"])
@pytest.mark.parametrize("patch", [1, 2])
def test_every_input_matters_and_every_weight_learns(modulation, patch):
    torch.manual_seed(0)
    changes = {"modulation": modulation, "patch": patch, "text_width": None if patch == 1 else 8}
    network = alive(UNet(**SMALL | EXTRA | changes))
    given = inputs()
    output = network(**given)
    assert output.shape == given["x"].shape
    output.square().mean().backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    for name in ("x", "level", "states", "pooled"):
        assert not torch.allclose(network(**given | {name: given[name] + 1}), output, atol=1e-3)
    for name in given["extras"]:
        extras = given["extras"] | {name: given["extras"][name] + 1}
        assert not torch.allclose(network(**given | {"extras": extras}), output, atol=1e-3)


def test_padding_of_the_text_changes_nothing(unet):
    given = inputs()
    padded = given | {
        "states": F.pad(given["states"], (0, 0, 0, 9), value=100.0),
        "mask": F.pad(given["mask"], (0, 9)),
    }
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(unet(**padded), unet(**given), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_pictures_of_a_batch_do_not_see_each_other(unet):
    given, output = inputs(), unet(**inputs())
    for i in range(3):
        one = {name: value[i : i + 1] for name, value in given.items() if name != "extras"}
        one["extras"] = {name: value[i : i + 1] for name, value in given["extras"].items()}
        torch.testing.assert_close(unet(**one), output[i : i + 1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_text_states_are_standardised_by_the_buffers(unet):
    given = inputs()
    output = unet(**given)
    mean, std = torch.randn(12), torch.rand(12) + 0.5
    unet.text_mean.copy_(mean)
    unet.text_std.copy_(std)
    unet.pooled_mean.fill_(2.0)
    unet.pooled_std.fill_(0.1)
    shifted = given | {"states": given["states"] * std + mean, "pooled": given["pooled"] * 0.1 + 2}
    torch.testing.assert_close(unet(**shifted), output, rtol=1e-4, atol=1e-5)
    assert {"text_mean", "text_std", "pooled_mean", "pooled_std"} <= set(unet.state_dict())


@torch.no_grad()
def test_a_residual_is_added_to_the_prediction():
    torch.manual_seed(0)
    fresh = UNet(**SMALL | EXTRA | {"images": {"low": 3}, "residual": "low"})
    given = inputs()
    given["extras"]["low"] = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(fresh(**given), given["extras"]["low"])  # the rest begins with zeros


@torch.no_grad()
def test_without_text_and_of_any_shape():
    torch.manual_seed(0)
    plain = {"text_dim": None, "pooled_dim": None, "text_width": None}
    network = alive(UNet(**SMALL | plain))
    assert network(torch.randn(2, 3, 6, 10), torch.rand(2)).shape == (2, 3, 6, 10)


@pytest.mark.parametrize("size", [9, 10])
def test_a_size_that_is_not_divisible_is_refused(unet, size):
    with pytest.raises(RuntimeError, match=r"divisible|must match"):
        unet(**inputs(size=size))


def test_autoencoder_shapes_and_reparametrisation():
    torch.manual_seed(0)
    network = alive(kl_autoencoder(**AUTOENCODER))
    x, noise = torch.rand(2, 3, 16, 8) * 2 - 1, torch.randn(2, 5, 4, 2)
    output, bottled = network(x, noise)
    mean, log_variance = network.bottleneck.posterior(network.features(x))
    assert output.shape == x.shape and mean.shape == log_variance.shape == noise.shape
    z = torch.distributions.Normal(mean, log_variance.exp().sqrt())
    torch.testing.assert_close(output, network.decode(z.loc + z.scale * noise))
    divergence = torch.distributions.kl_divergence(z, torch.distributions.Normal(0, 1))
    torch.testing.assert_close(bottled.penalties["kl"], divergence.sum())
    torch.testing.assert_close(network.encode(x), mean)
    output.square().mean().backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
