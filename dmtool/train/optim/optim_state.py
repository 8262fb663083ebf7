"""The optimizers' state as tensors by name, for checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def flatten(optimizers: list[Optimizer]) -> tuple[dict[str, Tensor], list[Any]]:
    """The optimizers' state as tensors by 'optimizer.parameter.name', and their groups as JSON."""
    tensors: dict[str, Tensor] = {}
    groups = []
    for i, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        groups.append(state["param_groups"])
        for parameter, values in state["state"].items():
            tensors |= {f"{i}.{parameter}.{name}": value for name, value in values.items()}
    return tensors, groups


def empty(optimizers: list[Optimizer], stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Memory for the optimizers' state of these shapes, in shards if their parameters are."""
    parameters = [
        [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for optimizer in optimizers
    ]
    made = {}
    for key, tensor in stored.items():
        i, parameter, _ = key.split(".", 2)
        like = parameters[int(i)][int(parameter)]
        same = like.detach() if like.shape == tensor.shape else tensor
        device = "cpu" if same is tensor else None
        made[key] = torch.empty_like(same, dtype=tensor.dtype, device=device)
    return made


def unflatten(
    optimizers: list[Optimizer], tensors: dict[str, Tensor], saved: list[list[dict[str, Any]]]
) -> None:
    """Give the optimizers the state in these tensors, and the groups of a checkpoint's state."""
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, value in tensors.items():
        i, parameter, name = key.split(".", 2)
        states[int(i)].setdefault(int(parameter), {})[name] = value
    for optimizer, state, groups in zip(optimizers, states, saved, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": groups})
