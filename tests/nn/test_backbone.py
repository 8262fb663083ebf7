"""Noise predictors on another network than a U-Net, and what a U-Net says of itself."""

import pytest
import torch
from torch import nn

from dmtool.cond import Cond
from dmtool.config.compose import composed
from dmtool.config.parts import UNet as UNetConfig
from dmtool.config.validation import container, validate
from dmtool.diffusion.network import NoisePredictor, Sampling, backbone, describe, perturbed
from dmtool.nn.backbone import Backbone
from dmtool.nn.unet import Block
from dmtool.text.encoder import NoTextEncoder


class Flat(Backbone):
    """Blocks over the pixels, which hear text of four channels less its mean; nothing else."""

    factor, depth = 1, 1

    def __init__(self):
        super().__init__()
        self.lift, self.lower = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
        self.blocks = nn.ModuleList(Block(8, 2, "gelu", 4) for _ in range(2))
        self.register_buffer("mean", torch.zeros(4))

    @property
    def regions(self):
        return [*self.blocks]

    units = regions

    def at(self, level):
        return self.regions

    def standardise(self, statistics):
        self.mean.copy_(statistics["states"][0])

    def embed_states(self, states):
        return states - self.mean

    def forward(self, x, level, states=None, mask=None, pooled=None, extras=None):
        tokens = self.lift(x).flatten(2).transpose(1, 2)
        states = self.embed_states(states)
        for block in self.blocks:
            tokens = block(tokens, states, mask)
        return self.lower(tokens.transpose(1, 2).unflatten(2, x.shape[2:]))


def test_a_noise_predictor_takes_any_backbone():
    torch.manual_seed(0)
    flat = Flat()
    flat.standardise({"states": (torch.full((4,), 0.5), torch.ones(4))})
    predictor = NoisePredictor(flat, None).eval()
    x, level, states = torch.randn(2, 3, 4, 4), torch.zeros(2), torch.randn(2, 5, 4)
    made = predictor(x, level, Cond(states))
    read = Sampling(predictor)
    torch.testing.assert_close(read(x, level, read.prepare(Cond(states))), made)
    worse = perturbed(predictor, [-1])(x, level, Cond(states))
    assert (worse - made).abs().max() > 1e-3
    with pytest.raises(ValueError, match="no level 1, only 0 to 0"):
        perturbed(predictor, [1])
    flat.mean.zero_()
    torch.testing.assert_close(predictor(x, level, Cond(states - 0.5)), made)
    assert all(name.startswith("unet.") for name in predictor.state_dict())


@pytest.mark.parametrize("words", [["unet.patch=2"], ["unet.patch=1", "unet.widths=[8,8,8]",
                         "unet.blocks=[1,1,1]", "unet.depths=[0,0,0]"]])  # fmt: skip
def test_a_unet_says_what_divides_its_sides_as_its_config_does(words):
    chosen = ["unet.widths=[8,8]", "unet.blocks=[1,1]", "unet.depths=[0,0]", "unet.groups=4"]
    config = container(composed("train_unet", [*chosen, *words]))["unet"]
    config = validate(config, UNetConfig)
    unet = backbone(describe(config, 3, NoTextEncoder()))
    assert unet.factor == config.factor == 4
    assert unet(torch.zeros(1, 3, 4, 4), torch.zeros(1)).shape == (1, 3, 4, 4)
    with pytest.raises(RuntimeError):
        unet(torch.zeros(1, 3, 6, 6), torch.zeros(1))
