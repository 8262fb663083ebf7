"""Each optimizer goes on from a checkpoint as if it had never stopped, bit for bit."""

import json

import pytest
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from dmtool.config.cadence import Keep
from dmtool.config.optim import Optim
from dmtool.config.validation import conf_dir, validate
from dmtool.train import optim
from dmtool.train.ema import Ema, Power
from dmtool.train.progress import Progress
from dmtool.train.state import Learner, State

KINDS = ["adamw", "muon", "muon optim.matrices=all", "schedule_free", "adam8bit"]


def config(words):
    from hydra import compose, initialize_config_dir

    kind, *overrides = words.split()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose("train_vae", [f"optim={kind}", "optim.lr=0.01", *overrides])
    return validate(composed.optim, Optim)


def new(chosen, layout=torch.contiguous_format):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.Linear(80, 60)
    network = nn.Sequential(*layers).to(memory_format=layout)
    optimizers = optim.build(network, chosen)
    learner = Learner(network, optimizers, Ema(network, Power(0.1)))
    return State({"network": learner}, GradScaler("cpu"), Progress())


def train(state, steps):
    """Until so many steps are made, with gradients that follow from the weights."""
    while state.progress.pictures < steps:
        for i, parameter in enumerate(state.main.network.parameters()):
            parameter.grad = torch.cos(9 * parameter.detach() + i + state.progress.pictures)
        optim.set_factor(state.main.optimizers, 1 / (1 + state.progress.pictures))
        for optimizer in state.main.optimizers:
            optimizer.step()
        state.progress.pictures += 1
        with optim.averaged(state.main.optimizers):
            state.main.ema.update(1, state.progress.pictures)


def cut(words, folder, steps, layout=torch.contiguous_format):
    """The states after so many steps: of a straight training, and of one that was cut after 4."""
    chosen = config(words)
    straight, first, resumed = new(chosen), new(chosen), new(chosen, layout)
    train(straight, steps)
    train(first, 4)
    first.copy().write(folder, Keep(last=1, every=None, best=None))
    assert resumed.load_newest(folder)
    train(resumed, steps)
    return straight.copy(), resumed.copy()


@pytest.mark.parametrize("words", KINDS)
def test_a_resumed_optimizer_goes_on_alike(words, tmp_path):
    expected, found = cut(words, tmp_path, 7)
    assert json.dumps(expected.settings) == json.dumps(found.settings)
    for file, tensors in expected.tensors.items():
        assert tensors.keys() == found.tensors[file].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, found.tensors[file][name]), (file, name)


@pytest.mark.parametrize("words", ["adamw", "muon optim.matrices=all", "schedule_free"])
def test_it_may_go_on_in_another_layout(words, tmp_path):
    expected, found = cut(words, tmp_path, 5, torch.channels_last)
    for file, tensors in expected.tensors.items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, found.tensors[file][name], rtol=1e-5, atol=1e-7)
