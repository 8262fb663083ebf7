"""Optimizers, and the learning rate as a function of progress."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from dmtool.schemas import Optim

Parameters = list[nn.Parameter]


def build(network: nn.Module, config: Optim) -> list[Optimizer]:
    """The optimizers that together step all parameters; no weight decay on norms and biases.

    muon: the matrices of linear layers go to Muon, with steps scaled to AdamW's size
    (arXiv:2502.16982, section 2.2); convolutions, embeddings and vectors stay with AdamW.
    """
    matrices, others, vectors = _sort(network, muon=config.kind == "muon")
    groups = [
        {"params": others, "weight_decay": config.weight_decay, "base_lr": config.lr},
        {"params": vectors, "weight_decay": 0.0, "base_lr": config.lr},
    ]
    adam = AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
    if not matrices:
        return [adam]
    group = [{"params": matrices, "base_lr": config.muon_lr}]
    decay = config.weight_decay
    muon = Muon(group, lr=config.muon_lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    return [adam, muon]


def _sort(network: nn.Module, *, muon: bool) -> tuple[Parameters, Parameters, Parameters]:
    matrices, others, vectors = [], [], []
    linear = {id(module.weight) for module in network.modules() if isinstance(module, nn.Linear)}
    for parameter in network.parameters():
        if parameter.dim() < 2:
            vectors.append(parameter)
        elif muon and id(parameter) in linear:
            matrices.append(parameter)
        else:
            others.append(parameter)
    return matrices, others, vectors


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
