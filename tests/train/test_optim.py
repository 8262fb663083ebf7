"""Which optimizer steps what, how far, and the learning rate's course."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from dmtool import runs
from dmtool.network import NoisePredictor
from dmtool.nn.autoencoder import Autoencoder
from dmtool.nn.text import TextTransformer
from dmtool.nn.unet import UNet
from dmtool.schemas import AdamWOptim, MuonOptim
from dmtool.train.checkpoint import _flatten, _unflatten
from dmtool.train.muon import Muon
from dmtool.train.optim import build, factor, set_factor

COMMON = {
    "lr": 2e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0, "warmup": 0,
    "schedule": "constant", "final": 0.0,
}  # fmt: skip
ADAMW = AdamWOptim(kind="adamw", **COMMON)
MUON = MuonOptim(kind="muon", matrices="linear", muon_lr=5e-3, momentum=0.95, **COMMON)


@pytest.fixture
def network():
    torch.manual_seed(0)
    unet = UNet(
        channels=2, patch=1, widths=[8, 16], blocks=[1, 1], depths=[0, 1], middle_depth=1, heads=2,
        groups=4, modulation="add", text_dim=6, pooled_dim=6, text_width=None, dropout=0.0,
        images={}, levels=[], residual=None,
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
    network = Autoencoder(
        patch=1, widths=[8, 8], encoder_blocks=1, decoder_blocks=1, middle=False,
        latent_channels=2, groups=4,
    )  # fmt: skip
    adam, _ = build(network, replace(MUON, matrices="all"))
    outer = {p.shape for p in adam.param_groups[0]["params"]}
    assert outer == {(8, 3, 3, 3), (4, 8, 3, 3), (4, 4, 1, 1), (2, 2, 1, 1), (8, 2, 3, 3),
                     (3, 8, 3, 3)}  # fmt: skip


SHAPES = [(16, 16, 3, 3), (16, 16, 3, 3), (48, 4, 1, 1), (8, 40), (40, 8)]


def test_muons_first_step_follows_the_orthogonal_factor_of_the_flattened_gradient():
    """Against U V^T of the singular value decomposition; Newton-Schulz leaves singular values
    within 0.68 and 1.21, and directions to bfloat16's rounding."""
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    before = [weight.detach().clone() for weight in weights]
    for weight in weights:
        weight.grad = torch.randn_like(weight) * 1e-3
    Muon([{"params": weights}], lr=5e-3, weight_decay=0.1, momentum=0.95).step()
    for weight, old in zip(weights, before, strict=True):
        u, _, v = torch.linalg.svd(weight.grad.flatten(1).double(), full_matrices=False)
        rows, columns = weight.flatten(1).shape
        step = (old * (1 - 5e-4) - weight.detach()).flatten(1).double()
        step /= 5e-3 * 0.2 * max(rows, columns) ** 0.5
        values = u.mT @ step @ v.mT
        assert values.diagonal().min() > 0.65 and values.diagonal().max() < 1.25
        assert (values - values.diagonal().diag()).abs().max() < 0.05


def test_muons_momentum_on_matrices_is_torchs():
    """Five steps of a matrix beside torch's own Muon, which takes no convolutions."""
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(16, 24)) for _ in range(2))
    options = {"lr": 5e-3, "weight_decay": 0.1, "momentum": 0.95}
    mine = Muon([{"params": [ours]}], **options)
    peer = torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **options)
    for _ in range(5):
        ours.grad = theirs.grad = torch.randn(16, 24)
        mine.step()
        peer.step()
    assert (ours - theirs).norm() < 0.02 * (theirs - 1).norm()


def test_muons_state_round_trips_through_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    gradients = [[torch.randn(shape) for shape in SHAPES] for _ in range(4)]

    def run(weights, muon, part):
        for gradient in part:
            for weight, grad in zip(weights, gradient, strict=True):
                weight.grad = grad
            muon.step()

    def fresh():
        weights = [nn.Parameter(torch.ones(shape)) for shape in SHAPES]
        return weights, Muon([{"params": weights}], lr=1e-2, weight_decay=0.1, momentum=0.95)

    straight, muon = fresh()
    run(straight, muon, gradients[:2])
    tensors, groups = _flatten([muon])
    runs.write_tensors(tmp_path / "muon.safetensors", tensors)
    resumed, again = fresh()
    for weight, old in zip(resumed, straight, strict=True):
        weight.data.copy_(old.data)
    _unflatten([again], runs.read_tensors(tmp_path / "muon.safetensors"), {"groups": groups})
    run(straight, muon, gradients[2:])
    run(resumed, again, gradients[2:])
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


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
