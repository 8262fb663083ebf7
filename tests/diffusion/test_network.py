"""The noise predictor: a U-Net with the text encoder it learns, or with states from elsewhere."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dmtool.cond import Cond
from dmtool.config.parts import UNet as UNetConfig
from dmtool.config.sampling import HeunSampler, UniformGrid
from dmtool.config.threshold import NoThreshold
from dmtool.config.validation import conf_dir, validate
from dmtool.diffusion.denoise import Denoiser
from dmtool.diffusion.guidance import ClassifierFree
from dmtool.diffusion.network import (
    NoisePredictor,
    Sampling,
    backbone,
    condition,
    describe,
    perturbed,
)
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.samplers import last
from dmtool.diffusion.sampling import trajectory
from dmtool.nn.read import Read
from dmtool.nn.text import TextTransformer
from dmtool.nn.unet import Block
from dmtool.text.blend import Blend

CONFIG = {
    "kind": "unet", "patch": 1, "widths": [16, 32], "blocks": [1, 1], "depths": [0, 1],
    "middle_depth": 0, "heads": 2, "groups": 8, "modulation": "add", "gate": "silu", "pooled": True,
    "text_width": None, "dropout": 0.0,
}  # fmt: skip
SETTINGS = HeunSampler(
    kind="heun", steps=3, calls=None, grid=UniformGrid(kind="uniform", shift=1.0),
    threshold=NoThreshold(kind="none"),
)  # fmt: skip


class Text:
    """Captions -> token ids; the smallest encoder that is learned with the network."""

    dim = pooled_dim = 8

    def network(self):
        return TextTransformer(vocabulary=128, width=8, depth=1, heads=2, max_length=16)

    def encode(self, captions):
        length = max(map(len, captions)) + 1
        ids = torch.tensor([[1, *map(ord, c), *[0] * (length - 1 - len(c))] for c in captions])
        return Cond(ids, torch.arange(length) < torch.tensor([[len(c) + 1] for c in captions]))


def predictor(**changes):
    torch.manual_seed(0)
    arguments = describe(validate(CONFIG | changes, UNetConfig), 2, Text())
    network = NoisePredictor(backbone(arguments), Text().network()).eval()
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return network


def test_the_config_and_the_text_describe_the_network():
    config = validate(CONFIG, UNetConfig)
    found = describe(config, 4, Text(), images={"low": 3}, levels=["low_level"])
    assert found["text_dim"] == found["pooled_dim"] == 8 and found["channels"] == 4
    assert found["images"] == {"low": 3} and found["levels"] == ["low_level"]
    nothing = describe(config, 4, SimpleNamespace(dim=0, pooled_dim=0))
    assert nothing["text_dim"] is None and nothing["pooled_dim"] is None
    assert (
        describe(validate(CONFIG | {"pooled": False}, UNetConfig), 4, Text())["pooled_dim"] is None
    )
    assert (conf_dir() / "unet/small.yaml").is_file()


@torch.no_grad()
def test_ids_are_read_once_and_states_are_left_alone():
    network, ids = predictor(), Text().encode(["red heart", "sun"])
    read = condition(network, Text(), ["red heart", "sun"], torch.device("cpu"))
    assert read.states.shape == (2, 10, 8) and read.pooled.shape == (2, 8)
    assert torch.equal(read.mask, ids.mask) and network.read(read) is read
    x, level = torch.randn(2, 2, 4, 4), torch.tensor([10.0, 900])
    assert torch.equal(network(x, level, ids), network(x, level, read))
    assert condition(lambda x, level, cond: x, Text(), ["sun"], "cpu").states.dtype == torch.int64


def test_the_text_encoder_learns_with_it():
    network = predictor()
    network(
        torch.randn(1, 2, 4, 4), torch.ones(1), Text().encode(["sun"])
    ).square().sum().backward()
    grad = network.text.token.weight.grad
    assert grad[[1, *map(ord, "sun")]].abs().amin(1).gt(0).all() and not grad[0].any()


@torch.no_grad()
@pytest.mark.parametrize("text_width", [None, 12])
def test_the_texts_keys_and_values_are_computed_once_a_picture(text_width):
    network = predictor(text_width=text_width, depths=[2, 1])
    sampling, cpu = Sampling(network), torch.device("cpu")
    assert {*map(id, sampling.parameters())} == {*map(id, network.parameters())}
    seen = []
    for block in (module for module in network.modules() if isinstance(module, Block)):
        for layer in (block.text_attention.k, block.text_attention.v):
            layer.register_forward_hook(lambda layer, x, y: seen.append(layer))

    def sample(network, prompts):
        denoiser = Denoiser(network, schedule("flow"), "flow", "flow_time")
        guided = ClassifierFree(denoiser, condition(network, Text(), ["blurred"], cpu), 3.0)
        cond, keys = condition(network, Text(), prompts, cpu), [(0, 0), (0, 1)]
        return last(trajectory(guided, cond, (2, 4, 4), keys, SETTINGS, "sample", cpu))

    prompts = ["a red heart", Blend("sun", "man pilot", 0.4)]
    usual = sample(network, prompts)
    seen.clear()
    torch.testing.assert_close(sample(sampling, prompts), usual)
    assert len(seen) == 2 * 2 * 9  # keys and values of nine blocks, for captions and the negative

    heard = []
    for module in sampling.unet.modules():
        if isinstance(module, Read):
            module.register_forward_hook(lambda module, inputs, y: heard.append(inputs[1].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        sample(sampling, prompts)
    assert {*heard} == {torch.bfloat16}

    worse, cond = perturbed(network, [0]), condition(network, Text(), ["sun"], cpu)
    x, level = torch.randn(1, 2, 4, 4), torch.tensor([10.0])
    found = perturbed(sampling, [0])(x, level, condition(sampling, Text(), ["sun"], cpu))
    torch.testing.assert_close(found, worse(x, level, cond))
    assert (found - network(x, level, cond)).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("wrap", [lambda network: network, Sampling])
def test_a_prompt_is_encoded_once_however_often_it_comes(wrap):
    network, asked = wrap(predictor()), []

    class Noting(Text):
        def encode(self, captions):
            asked.append([*captions])
            return super().encode(captions)

    def conditioned(prompts):
        return condition(network, Noting(), prompts, torch.device("cpu"))

    several = ["sun", "", "sun", Blend("sun", "moon", 0.5), "", "sun"]
    found = conditioned(several)
    assert asked == [["sun", "", "sun"], ["sun", "", "moon"]]
    once = conditioned([*dict.fromkeys(several)])
    for row, prompt in enumerate(several):
        place = [*dict.fromkeys(several)].index(prompt)
        for a, b in zip(found.named().values(), once.named().values(), strict=True):
            assert torch.equal(a[row], b[place])
    asked.clear()
    assert conditioned([""] * 5).batch == 5 and asked == [[""]]


@torch.no_grad()
def test_a_guided_picture_is_the_same_in_any_batch():
    network = predictor(text_width=12)
    denoiser = Denoiser(network, schedule("flow"), "flow", "flow_time")
    prompts, keys = ["red heart", "sun", "", "man pilot"], [(0, 0), (0, 1), (3, 0), (0, 0)]

    def sample(rows):
        cpu = torch.device("cpu")
        cond = condition(network, Text(), [prompts[row] for row in rows], cpu)
        negative = condition(network, Text(), ["blurred"] * len(rows), cpu)
        guided, chosen = ClassifierFree(denoiser, negative, 3.0), [keys[row] for row in rows]
        return last(trajectory(guided, cond, (2, 4, 4), chosen, SETTINGS, "sample", cpu))

    together = sample(range(4))
    alone = torch.cat([sample([row]) for row in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)
    assert (together[0] - together[3]).abs().max() > 0.01  # equal noise, another prompt
