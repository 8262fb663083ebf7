"""Optimizers, and the learning rate as a function of progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from dmtool.config.optim import (
    Adam8bitOptim,
    AdamWOptim,
    MuonOptim,
    Optim,
    OptimBase,
    Scheduled,
    ScheduleFreeOptim,
)
from dmtool.errors import UserError, require
from dmtool.train.optim.groups import Parameters, groups
from dmtool.train.optim.muon import Muon
from dmtool.train.optim.schedule_free import ScheduleFree


def build(network: nn.Module, config: Optim) -> list[Optimizer]:
    """The optimizers that together step all parameters; muon: matrices, and AdamW all else."""
    optimizers = KINDS[type(config)](network, config)
    for optimizer in optimizers:
        optimizer.register_load_state_dict_post_hook(_lay_out)
    return optimizers


def _lay_out(optimizer: Optimizer) -> None:
    """Loaded state gets its weight's layout in memory: fused kernels go through both alike."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            same = not torch.is_tensor(value) or value.shape != weight.shape
            if not same and value.stride() != weight.stride():
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _adamw(sorted_: list[dict[str, Any]], *options: Any) -> Optimizer:
    return AdamW(sorted_, *options, fused=True)


def _adam8bit(sorted_: list[dict[str, Any]], *options: Any) -> Optimizer:
    require("bitsandbytes", "adam8bit")
    from dmtool.train.optim.adam8bit import Adam8bit

    return Adam8bit(sorted_, *options)


def _alone(make: Callable[..., Optimizer], network: nn.Module, config: Optim) -> list[Optimizer]:
    """One kind of Adam for all parameters."""
    return [_adam(make, network, [*network.parameters()], config)]


def _adam(
    make: Callable[..., Optimizer], network: nn.Module, parameters: Parameters, config: Optim
) -> Optimizer:
    sorted_ = groups(network, parameters, config, config.lr)
    return make(sorted_, config.lr, config.betas, config.eps, config.weight_decay)


def _muon(network: nn.Module, config: MuonOptim) -> list[Optimizer]:
    matrices = _matrices(network, config)
    if not matrices:
        raise UserError(
            f"optim=muon with optim.matrices={config.matrices} finds no matrix in this network: "
            "take optim.matrices=all, or another optim"
        )
    taken = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in taken]
    sorted_ = groups(network, matrices, config, config.muon_lr)
    muon = Muon(sorted_, config.muon_lr, config.weight_decay, config.momentum)
    return [_adam(_adamw, network, rest, config), muon]


KINDS: dict[type, Callable[[nn.Module, Any], list[Optimizer]]] = {
    AdamWOptim: partial(_alone, _adamw),
    Adam8bitOptim: partial(_alone, _adam8bit),
    ScheduleFreeOptim: partial(_alone, ScheduleFree),
    MuonOptim: _muon,
}


def _matrices(network: nn.Module, config: MuonOptim) -> Parameters:
    """The weights of linear layers, and of inner convolutions if asked for.

    A network names its outer convolutions as `ends`: they join it to pictures, not to features.
    """
    ends = {id(end) for module in network.modules() for end in getattr(module, "ends", ())}
    kinds = nn.Linear | nn.Conv2d if config.matrices == "all" else nn.Linear
    modules = (module for module in network.modules() if id(module) not in ends)
    return [module.weight for module in modules if isinstance(module, kinds)]


@contextmanager
def averaged(optimizers: list[Optimizer]) -> Iterator[None]:
    """Within it the network has the weights that are to be used: schedule-free's own averages.

    Those of other optimizers are as they are.
    """
    with ExitStack() as stack:
        for optimizer in optimizers:
            if isinstance(optimizer, ScheduleFree):
                stack.enter_context(optimizer.averaged())
        yield


def factor(config: OptimBase, pictures: int, progress: float) -> float:
    """The learning rate's factor in [0, 1], of a step after which `pictures` have been seen.

    It rises linearly over the first `warmup` of them; `cosine` and `linear` then fall with
    progress in [0, 1] to `final`.
    """
    warm = min(1.0, pictures / config.warmup) if config.warmup else 1.0
    if not isinstance(config, Scheduled):
        return warm
    fall = FALLS[config.schedule](min(progress, 1.0))
    return warm * (config.final + (1 - config.final) * fall)


FALLS: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
}


def set_factor(optimizers: list[Optimizer], value: float) -> None:
    """Set every group's learning rate to its base times `value`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * value
