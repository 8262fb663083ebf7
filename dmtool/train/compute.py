"""How a network is computed in training: what changes its time and memory, not what it learns."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dmtool.config.training import Compute
from dmtool.errors import UserError

Forward = Callable[..., Any]


def prepare(network: nn.Module, config: Compute, device: torch.device) -> None:
    """Change in place how the network, which is on `device`, trains.

    Its repeated blocks (`regions` of itself and its parts) are compiled, or computed again in the
    backward pass; in evaluation they are what they were. No parameter is renamed.
    """
    if config.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    regions = [region for part in network.modules() for region in getattr(part, "regions", ())]
    if config.compile:
        _require_compiler(device)
        torch._dynamo.config.recompile_limit = max(8, len(regions))  # types share a limit
    for region in regions:
        train = region.forward
        if config.compile:
            train = torch.compile(train, dynamic=False, fullgraph=True)
        if config.checkpointing:
            train = partial(checkpoint, train, use_reentrant=False)
        if train is not region.forward:
            region.forward = partial(_either, region, train, region.forward)


def _either(region: nn.Module, train: Forward, evaluate: Forward, *args: Any) -> Any:
    """Validation and previews come in other shapes, which would be compiled anew."""
    learning = region.training and torch.is_grad_enabled()
    return train(*args) if learning else evaluate(*args)


def _require_compiler(device: torch.device) -> None:
    """UserError if there is nothing to compile with."""
    names = [os.environ.get("CXX", "g++"), "clang++"]
    if not any(map(shutil.which, names)):
        raise UserError(
            "compute.compile needs a C++ compiler, and none of "
            f"{', '.join(names)} is here: install one (apt install g++), or leave it off"
        )
    if device.type == "cuda" and find_spec("triton") is None:
        raise UserError("compute.compile needs triton on CUDA: pip install triton, or leave it off")
