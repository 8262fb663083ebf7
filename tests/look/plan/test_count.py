"""What is counted without computing: against counts by hand, and a real training's files."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dmtool.look.plan import outline
from dmtool.look.plan.count import Count, count, flops, kept
from dmtool.look.plan.outline import Outline
from dmtool.nn.discriminators import PatchCritic
from dmtool.nn.layers import Attention
from dmtool.train import stages
from dmtool.train.checkpoint import OLDER


def test_flops_of_a_small_network_by_hand():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 4 * 4, 10)
    )
    conv, linear = 2 * 3 * 8 * 9 * 4 * 4, 2 * 8 * 4 * 4 * 10
    forward, total = flops(network, (torch.randn(5, 3, 4, 4),))
    assert forward == 5 * (conv + linear)
    # each weight's gradient and each input's costs a forward pass; the pictures have no gradient
    assert total - forward == 5 * (conv + 2 * linear)


def test_flops_of_attention_are_its_products():
    tokens, width = 6, 16
    forward, _ = flops(Attention(width, heads=4), (torch.randn(1, tokens, width),))
    assert forward == 4 * 2 * tokens * width**2 + 2 * 2 * tokens**2 * width


def test_what_a_picture_keeps_for_the_backward_pass():
    """A linear layer keeps its input, ReLU its output."""
    plain = Outline(
        lambda: nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 1)),
        lambda n: (torch.randn(n, 10),),
        frozen=0,
        frozen_bytes=0,
    )
    assert kept(plain, torch.device("cpu"), torch.float32) == 4 * (10 + 30)
    assert kept(plain, torch.device("meta"), torch.bfloat16) == 2 * (10 + 30)


def test_memory_by_hand():
    each = Count(1, 2, 1, 1, network=10, averages=20, optimizer=40, encoder=8)
    # weights, gradients, averages, the optimizer's state, and activations
    assert each.memory(100) == 10 + 10 + 20 + 40 + 100
    assert each.memory(0) == 10 + 10 + 20 + 40 + 10, "weights put aside for the averages"
    assert replace(each, encoder=1000).memory(0) == 1000, "a large text encoder, before all that"


def test_a_checkpoint_has_the_size_that_was_counted(config, tmp_path):
    """With both optimizers, and three averages."""
    trained = config(
        f"root={tmp_path}", "run=r", "optim=muon", "optim.matrices=all", "ema.sigma_rel=0.08"
    )
    stages.train(trained)
    stage = tmp_path / "r/vae"
    counted = count(outline.of_config(trained), trained)
    (checkpoint,) = (stage / "checkpoints").iterdir()
    real = sum((checkpoint / name).stat().st_size for name in (*OLDER, "state.json"))
    assert counted.checkpoint == pytest.approx(real, rel=0.05)  # files have headers
    assert counted.checkpoint < real
    artifact = stage / "artifacts/default/model.safetensors"
    assert counted.network == pytest.approx(artifact.stat().st_size, rel=0.05)


def test_a_critic_counts_as_well(config, tmp_path):
    """Its files in a checkpoint, and its operations in both turns."""
    words = ["adversarial=patch", "adversarial.widths=[32,64]", "adversarial.learns_at=0",
             "adversarial.counts_at=8", f"root={tmp_path}", "run=r"]  # fmt: skip
    alone, judged = config(), config(*words)
    stages.train(judged)
    (checkpoint,) = (tmp_path / "r/vae/checkpoints").iterdir()
    real = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
    plain, both = (count(outline.of_config(each), each) for each in (alone, judged))
    assert both.checkpoint == pytest.approx(real, rel=0.05)
    critic = PatchCritic([32, 64], 32)
    calls = flops(critic, (torch.rand(1, 3, judged.resolution, judged.resolution),))
    assert both.trainable - plain.trainable == sum(p.numel() for p in critic.parameters())
    assert both.forward == 2 * plain.forward + 3 * calls[0]
    assert both.backward == plain.backward + 3 * (calls[1] - calls[0])
