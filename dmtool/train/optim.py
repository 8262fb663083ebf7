"""Optimizers, and the learning rate as a function of progress."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from dmtool.schemas import MuonOptim, Optim, OptimBase
from dmtool.train.muon import Muon

Parameters = list[Tensor]


def build(network: nn.Module, config: Optim) -> list[Optimizer]:
    """The optimizers that together step all parameters.

    Vectors (norms, biases) and embeddings have no weight decay. muon: matrices go to Muon, all
    else stays with AdamW.
    """
    matrices = _matrices(network, config) if isinstance(config, MuonOptim) else []
    rest = _without(network, matrices)
    optimizers: list[Optimizer] = [_adamw(network, rest, config)]
    if isinstance(config, MuonOptim):
        group = {"params": matrices, "base_lr": config.muon_lr}
        optimizers.append(Muon([group], config.muon_lr, config.weight_decay, config.momentum))
    return optimizers


def _adamw(network: nn.Module, parameters: Parameters, config: OptimBase) -> AdamW:
    light = {id(parameter) for parameter in _undecayed(network)}
    heavy = [parameter for parameter in parameters if id(parameter) not in light]
    others = [parameter for parameter in parameters if id(parameter) in light]
    groups: list[dict[str, Any]] = [
        {"params": heavy, "base_lr": config.lr},
        {"params": others, "base_lr": config.lr, "weight_decay": 0.0},
    ]
    return AdamW(groups, config.lr, config.betas, config.eps, config.weight_decay, fused=True)


def _undecayed(network: nn.Module) -> Iterator[Tensor]:
    """Norms' and biases' parameters and embeddings: decay would only pull them off their scale."""
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.dim() < 2 or not isinstance(module, nn.Linear | nn.Conv2d):
                yield parameter


def _matrices(network: nn.Module, config: MuonOptim) -> Parameters:
    """The weights of linear layers, and of inner convolutions if asked for.

    A network names its outer convolutions as `ends`: they join it to pictures, not to features.
    """
    ends = {id(end) for module in network.modules() for end in getattr(module, "ends", ())}
    kinds = nn.Linear | nn.Conv2d if config.matrices == "all" else nn.Linear
    modules = (module for module in network.modules() if id(module) not in ends)
    return [module.weight for module in modules if isinstance(module, kinds)]


def _without(network: nn.Module, parameters: Parameters) -> Parameters:
    taken = {id(parameter) for parameter in parameters}
    return [parameter for parameter in network.parameters() if id(parameter) not in taken]


def factor(config: Optim, pictures: int, progress: float) -> float:
    """The learning rate's factor in [0, 1].

    It rises linearly over the first `warmup` pictures; `cosine` and `linear` then fall with
    progress in [0, 1] to `final`.
    """
    warm = min(1.0, pictures / config.warmup) if config.warmup else 1.0
    progress = min(progress, 1.0)
    fall = {
        "constant": 1.0,
        "linear": 1 - progress,
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
    }[config.schedule]
    return warm * (config.final + (1 - config.final) * fall)


def set_factor(optimizers: list[Optimizer], value: float) -> None:
    """Set every group's learning rate to its base times `value`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * value
