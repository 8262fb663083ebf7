"""Which optimizer steps what, how far, and the learning rate's course."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Muon

from dmtool.network import NoisePredictor
from dmtool.nn.text import TextTransformer
from dmtool.nn.unet import UNet
from dmtool.schemas import Optim
from dmtool.train.optim import build, factor, set_factor

ADAMW = Optim(
    kind="adamw", lr=2e-3, muon_lr=5e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, clip=1.0,
    schedule="constant", warmup=0, final=0.0,
)  # fmt: skip
MUON = replace(ADAMW, kind="muon")


@pytest.fixture
def network():
    torch.manual_seed(0)
    unet = UNet(
        channels=2, patch=1, widths=[8, 16], blocks=[1, 1], depths=[0, 1], middle_depth=1, heads=2,
        groups=4, modulation="add", gate="gelu", text_dim=6, pooled_dim=6,
        text_width=None, dropout=0.0, images={}, levels=[], residual=None,
    )  # fmt: skip
    return NoisePredictor(unet, TextTransformer(50, 6, 1, 2, 9))


def names(network, parameters):
    by_id = {id(parameter): name for name, parameter in network.named_parameters()}
    return {by_id[id(parameter)] for parameter in parameters}


@pytest.mark.parametrize("config", [ADAMW, MUON], ids=["adamw", "muon"])
def test_every_weight_has_one_optimizer_and_vectors_do_not_decay(network, config):
    groups = [group for optimizer in build(network, config) for group in optimizer.param_groups]
    stepped = [parameter for group in groups for parameter in group["params"]]
    assert len(stepped) == len({id(p) for p in stepped}) == len(list(network.parameters()))
    for group in groups:
        decays = {parameter.dim() >= 2 for parameter in group["params"]}
        assert decays == {group["weight_decay"] == 0.1}


def test_muon_takes_the_matrices_of_linear_layers_and_nothing_else(network):
    adam, muon = build(network, MUON)
    assert isinstance(adam, AdamW) and isinstance(muon, Muon)
    linear = {f"{n}.weight" for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    assert names(network, muon.param_groups[0]["params"]) == linear
    assert {"text.token.weight", "text.position", "unet.conv_in.weight"} <= names(
        network, [p for group in adam.param_groups for p in group["params"]]
    )
    assert [type(optimizer) for optimizer in build(network, ADAMW)] == [AdamW]


def test_muons_step_is_an_orthogonal_matrix_of_adamws_size():
    torch.manual_seed(0)
    layer = nn.Linear(144, 16, bias=False)
    _, muon = build(nn.Sequential(layer, nn.LayerNorm(16)), replace(MUON, weight_decay=0.0))
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn(16, 144) * 1e-3
    muon.step()
    update = torch.linalg.svdvals((before - layer.weight).double()) / 5e-3
    assert (update / (0.2 * 144**0.5)).sub(1).abs().max() < 0.35


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_courses_of_the_learning_rate(schedule):
    config = replace(ADAMW, schedule=schedule, final=0.1)
    course = {
        "constant": lambda p: 1.0,
        "linear": lambda p: 1 - 0.9 * p,
        "cosine": lambda p: 0.55 + 0.45 * math.cos(math.pi * p),
    }[schedule]
    for progress in (0.0, 0.25, 0.5, 1.0):
        assert factor(config, 10**6, progress) == pytest.approx(course(progress))
    assert factor(config, 10**6, 1.7) == factor(config, 10**6, 1.0)


def test_the_warm_up_is_counted_in_pictures():
    config = replace(ADAMW, warmup=2000)
    assert [factor(config, seen, 0.0) for seen in (0, 500, 2000, 9000)] == [0, 0.25, 1, 1]
    linear = replace(config, schedule="linear")
    assert factor(linear, 1000, 0.5) == pytest.approx(0.25)


def test_the_factor_sets_each_groups_own_rate(network):
    optimizers = build(network, MUON)
    for value in (0.5, 0.25):
        set_factor(optimizers, value)
        rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
        assert rates == [2e-3 * value, 2e-3 * value, 5e-3 * value]
