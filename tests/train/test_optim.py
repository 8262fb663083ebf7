"""Which optimizer steps what, how far, and the learning rate's course."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from dmtool.config.optim import Adam8bitOptim, AdamWOptim, MuonOptim, ScheduleFreeOptim
from dmtool.diffusion.network import NoisePredictor
from dmtool.errors import UserError
from dmtool.nn.autoencoder import kl_autoencoder
from dmtool.nn.text import TextTransformer
from dmtool.nn.unet import UNet
from dmtool.train.optim.kinds import build, factor, set_factor
from dmtool.train.optim.muon import Muon

COMMON = {
    "lr": 2e-3, "layers": None, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0,
    "warmup": 0,
}  # fmt: skip
SCHEDULED = {**COMMON, "schedule": "constant", "final": 0.0}
ADAMW = AdamWOptim(kind="adamw", **SCHEDULED)
MUON = MuonOptim(kind="muon", matrices="linear", muon_lr=5e-3, momentum=0.95, **SCHEDULED)
FREE = ScheduleFreeOptim(kind="schedule_free", **COMMON)


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


@pytest.mark.parametrize(
    "config", [ADAMW, MUON, replace(MUON, matrices="all")], ids=["adamw", "muon", "muon-all"]
)
def test_every_weight_has_one_optimizer_and_only_matrices_and_filters_decay(network, config):
    groups = [group for optimizer in build(network, config) for group in optimizer.param_groups]
    stepped = [parameter for group in groups for parameter in group["params"]]
    assert len(stepped) == len({id(p) for p in stepped}) == len(list(network.parameters()))
    decaying = [p for group in groups if group["weight_decay"] == 0.1 for p in group["params"]]
    kinds = nn.Linear | nn.Conv2d
    filters = {f"{n}.weight" for n, m in network.named_modules() if isinstance(m, kinds)}
    assert names(network, decaying) == filters
    assert {group["weight_decay"] for group in groups} == {0.1, 0.0}


def test_muon_takes_the_matrices_that_it_is_told_to(network):
    by_name = dict(network.named_modules())
    linear = {f"{n}.weight" for n, m in by_name.items() if isinstance(m, nn.Linear)}
    convolutions = {f"{n}.weight" for n, m in by_name.items() if isinstance(m, nn.Conv2d)}
    inner = convolutions - {"unet.conv_in.weight", "unet.conv_out.weight"}
    for matrices, expected in {"linear": linear, "all": linear | inner}.items():
        adam, muon = build(network, replace(MUON, matrices=matrices))
        assert isinstance(adam, AdamW) and isinstance(muon, Muon)
        assert names(network, muon.param_groups[0]["params"]) == expected
    assert [type(optimizer) for optimizer in build(network, ADAMW)] == [AdamW]


def test_an_autoencoders_outer_convolutions_stay_with_adamw():
    network = kl_autoencoder(
        patch=1, widths=[8, 8], encoder_blocks=1, decoder_blocks=1, middle=False,
        latent_channels=2, groups=4,
    )  # fmt: skip
    adam, _ = build(network, replace(MUON, matrices="all"))
    outer = {p.shape for p in adam.param_groups[0]["params"]}
    assert outer == {(8, 3, 3, 3), (4, 8, 3, 3), (4, 4, 1, 1), (2, 2, 1, 1), (8, 2, 3, 3),
                     (3, 8, 3, 3)}  # fmt: skip


def test_adamw_is_torchs_with_no_decay_of_vectors(network):
    peer = deepcopy(network)
    vectors = [p for p in peer.parameters() if p.dim() < 2 or p.shape in ((50, 6), (9, 6))]
    others = [p for p in peer.parameters() if all(p is not each for each in vectors)]
    groups = [{"params": others}, {"params": vectors, "weight_decay": 0.0}]
    theirs = AdamW(groups, lr=2e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    for ours, other in zip(network.parameters(), peer.parameters(), strict=True):
        ours.grad = other.grad = torch.randn_like(ours)
    build(network, ADAMW)[0].step()
    theirs.step()
    for ours, other in zip(network.parameters(), peer.parameters(), strict=True):
        assert torch.equal(ours, other)


def test_layers_have_their_own_rates_and_factors_multiply(network):
    layers = {"unet.middle": 0.5, "*.res.*norm1": 3.0, "text": 0.0}
    optimizers = build(network, replace(MUON, layers=layers))
    set_factor(optimizers, 0.1)
    rates = {}
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        rates |= dict.fromkeys(names(network, group["params"]), group["lr"])
    expected = {
        "unet.conv_in.weight": 2e-4, "unet.middle.res.conv1.weight": 1e-4,
        "unet.middle_res.conv1.bias": 2e-4, "unet.middle.res.emb.weight": 2.5e-4,
        "unet.middle.res.norm1.weight": 3e-4, "unet.down.0.0.res.norm1.bias": 6e-4,
        "text.position": 0.0, "text.blocks.0.qkv.weight": 0.0,
    }  # fmt: skip
    assert {name: rates[name] for name in expected} == pytest.approx(expected)


def test_a_pattern_that_matches_no_layer_names_near_ones(network):
    with pytest.raises(UserError, match=r"no layer is called 'unet\.midle'; unet\.middle,"):
        build(network, replace(ADAMW, layers={"unet.midle": 0.5}))


def test_schedule_free_has_no_course_but_a_warm_up():
    config = replace(FREE, warmup=100)
    assert [factor(config, seen, p) for seen, p in ((0, 0), (50, 0.5), (200, 1))] == [0, 0.5, 1]


def test_without_bitsandbytes_the_extra_is_named(network, monkeypatch):
    monkeypatch.setattr("dmtool.errors.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'dmtool\[adam8bit\]'"):
        build(network, Adam8bitOptim(kind="adam8bit", **SCHEDULED))


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
