"""The U-Net and the autoencoder against diffusers': equal counts, equal weights, equal outputs."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from omegaconf import OmegaConf

from dmtool.config.compose import composed
from dmtool.config.parts import UNet as UNetConfig
from dmtool.config.stages import TrainVae
from dmtool.config.validation import conf_dir, validate
from dmtool.diffusion import network
from dmtool.nn.autoencoder import kl_autoencoder
from dmtool.nn.layers import ResBlock
from dmtool.nn.unet import UNet

LEVELS = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def leaves(module, call):
    """The layers with weights of their own, in the order in which a forward pass calls them."""
    found = []
    layers = [m for m in module.modules() if list(m.parameters(recurse=False))]
    hooks = [m.register_forward_hook(lambda m, *_: found.append(m)) for m in layers]
    call()
    for hook in hooks:
        hook.remove()
    assert len(found) == len(layers)
    return found


@torch.no_grad()
def copy_weights(peer, call_peer, ours, call_ours):
    """Layer by layer: both networks call corresponding layers in the same order."""
    for theirs, own in zip(leaves(peer, call_peer), leaves(ours, call_ours), strict=True):
        own.load_state_dict(theirs.state_dict())


def test_the_unet_of_stable_diffusion_1():
    config = validate(OmegaConf.load(conf_dir() / "unet/sd1.yaml"), UNetConfig)
    text = SimpleNamespace(dim=768, pooled_dim=768)
    with torch.device("meta"):
        ours = network.backbone(network.describe(config, 4, text))
        peer = UNet2DConditionModel(cross_attention_dim=768)
    assert count(ours) == count(peer) == 859_520_964


def test_the_autoencoder_of_stable_diffusion_1():
    arguments = validate(composed("train_vae", ["vae=sd"]), TrainVae).vae.arguments
    with torch.device("meta"):
        ours = count(kl_autoencoder(**arguments))
        assert ours == count(AutoencoderKL(**LEVELS, layers_per_block=2)) == 83_653_863


@pytest.mark.parametrize("grad", [True, False])
def test_the_unet_computes_what_diffusers_computes(grad):
    torch.manual_seed(0)
    peer = UNet2DConditionModel(
        block_out_channels=(16, 32), layers_per_block=2, cross_attention_dim=12,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=4, norm_num_groups=8, in_channels=3, out_channels=3,
    )  # fmt: skip
    ours = UNet(
        channels=3, patch=1, widths=[16, 32], blocks=[2, 2], depths=[1, 0], middle_depth=1,
        heads=4, groups=8, modulation="add", gate="gelu", text_dim=12, pooled_dim=None,
        text_width=None, dropout=0.0, images={}, levels=[], residual=None,
    )  # fmt: skip
    x, level, states = torch.randn(2, 3, 8, 8), torch.tensor([3.0, 881.5]), torch.randn(2, 5, 12)
    mask = torch.arange(5) < torch.tensor([[5], [3]])

    def theirs():
        return peer(x, level, states, encoder_attention_mask=mask).sample

    copy_weights(peer, theirs, ours, lambda: ours(x, level, states, mask))
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(ours(x, level, states, mask), theirs(), rtol=1e-4, atol=1e-5)
    assert theirs().std() > 0.01


@torch.no_grad()
@pytest.mark.parametrize(("ours", "theirs"), [("add", "default"), ("scale_shift", "scale_shift")])
def test_the_noise_level_modulates_as_diffusers_does(ours, theirs):
    torch.manual_seed(0)
    peer = ResnetBlock2D(
        in_channels=8, out_channels=16, temb_channels=6, groups=4, eps=1e-5,
        time_embedding_norm=theirs,
    )  # fmt: skip
    block = ResBlock(8, 16, 4, 6, ours)
    x, embedding = torch.randn(2, 8, 4, 4), torch.randn(2, 6)
    copy_weights(peer, lambda: peer(x, embedding), block, lambda: block(x, embedding))
    torch.testing.assert_close(block(x, embedding), peer(x, embedding), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_autoencoder_computes_what_diffusers_computes():
    torch.manual_seed(0)
    small = {name: value[:2] for name, value in LEVELS.items() if isinstance(value, tuple)}
    small |= {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8}
    peer = AutoencoderKL(**small, latent_channels=4)
    ours = kl_autoencoder(
        patch=1, widths=[16, 32], encoder_blocks=1, decoder_blocks=2, middle=True,
        latent_channels=4, groups=8,
    )  # fmt: skip
    x, z = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4)
    copy_weights(
        peer,
        lambda: (peer.encode(x), peer.decode(z)),
        ours,
        lambda: (ours.encode(x), ours.decode(z)),
    )
    posterior = peer.encode(x).latent_dist
    both = ours.bottleneck.posterior(ours.features(x))
    for found, wanted in zip(both, (posterior.mean, posterior.logvar), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.decode(z), peer.decode(z).sample, rtol=1e-4, atol=1e-5)
