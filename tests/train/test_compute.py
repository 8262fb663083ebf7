"""Ways to compute a step: the same gradients and names, less memory, nothing compiled twice."""

from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from torch.profiler import profile

from dmtool.config.training import Compute
from dmtool.errors import UserError
from dmtool.nn.autoencoder import kl_autoencoder
from dmtool.nn.unet import UNet
from dmtool.train.compute import prepare

PLAIN = Compute(checkpointing=False, channels_last=False, compile=False)
CHECKPOINTING = replace(PLAIN, checkpointing=True)
CPU = torch.device("cpu")


def alive(network):
    """With random weights where residual branches begin with zeros."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network


def unet(dropout=0.2):
    torch.manual_seed(0)
    return alive(UNet(
        channels=3, patch=1, widths=[16, 32], blocks=[1, 1], depths=[0, 1], middle_depth=1, heads=2,
        groups=8, modulation="scale_shift", gate="silu", text_dim=12, pooled_dim=None,
        text_width=None, dropout=dropout, images={}, levels=[], residual=None,
    ))  # fmt: skip


def autoencoder():
    torch.manual_seed(0)
    return alive(kl_autoencoder(
        patch=1, widths=[16, 16], encoder_blocks=2, decoder_blocks=2, middle=True,
        latent_channels=2, groups=8,
    ))  # fmt: skip


def step(network, batch=2):
    """The loss of one step, with its gradient left in the weights."""
    torch.manual_seed(1)
    x = torch.randn(batch, 3, 16, 16)
    if isinstance(network, UNet):
        args = torch.rand(batch), torch.randn(batch, 5, 12), torch.ones(batch, 5).bool()
        loss = network(x, *args).square().mean()
    else:
        loss = network(x, torch.randn(batch, 2, 8, 8))[0].square().mean()
    network.zero_grad()
    loss.backward()
    return loss.item()


def gradients(network):
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def peak(network):
    """The most bytes held at a time in a step of eight pictures."""
    with profile(profile_memory=True) as record:
        step(network, 8)
    events = record.profiler.kineto_results.events()
    memory = sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns())
    return max(accumulate(event.nbytes() for event in memory))


@pytest.mark.parametrize("build", [unet, autoencoder])
def test_checkpointing_gives_the_very_same_gradients_in_less_memory(build):
    """Dropout included: the blocks' random numbers come again."""
    plain, other = build(), build()
    prepare(other, CHECKPOINTING, CPU)
    assert step(plain) == step(other)
    expected = gradients(plain)
    for name, gradient in gradients(other).items():
        assert torch.equal(gradient, expected[name]), name
    assert other.state_dict().keys() == plain.state_dict().keys()
    assert peak(other) < 0.5 * peak(plain)


def test_channels_last_gives_the_same_gradients_to_rounding():
    plain, other = unet(dropout=0.0), unet(dropout=0.0)
    prepare(other, replace(PLAIN, channels_last=True), CPU)
    assert other.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert step(plain) == pytest.approx(step(other), rel=1e-5)
    expected = gradients(plain)
    for name, gradient in gradients(other).items():
        assert (gradient - expected[name]).norm() <= 1e-4 * expected[name].norm() + 1e-7, name


def test_without_a_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        prepare(unet(), replace(PLAIN, compile=True), CPU)


@pytest.mark.slow
def test_compiled_blocks_are_compiled_once():
    """Ten blocks are three graphs: residual blocks in two sizes, and the middle.

    Checkpoints go with it. Evaluation, in whatever shape, leaves all alone, and names stay.
    """
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    plain, other = autoencoder(), autoencoder()
    prepare(other, Compute(checkpointing=True, channels_last=False, compile=True), CPU)
    assert step(plain) == pytest.approx(step(other), rel=1e-5)
    expected = gradients(plain)
    for name, gradient in gradients(other).items():
        assert (gradient - expected[name]).norm() <= 1e-4 * expected[name].norm() + 1e-7, name
    assert other.state_dict().keys() == plain.state_dict().keys()
    assert (len(other.regions), counters["stats"]["unique_graphs"]) == (10, 3)
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in (3, 5):
            with torch.no_grad():
                other.eval().encode(torch.randn(batch, 3, 8, 8))
            step(other.train())
    assert counters["stats"]["unique_graphs"] == 3
