"""Which weights are stepped alike: weight decay by what they are, learning rates by their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from dmtool.config.optim import OptimBase
from dmtool.errors import UserError

Parameters = Sequence[Tensor]


def groups(
    network: nn.Module, parameters: Parameters, config: OptimBase, lr: float
) -> list[dict[str, Any]]:
    """The parameters by learning rate and weight decay; `base_lr` is `lr` times layers' factors."""
    factors = layer_factors(network, config.layers or {})
    light = {id(parameter) for parameter in _undecayed(network)}
    sorted_: dict[tuple[float, float], list[Tensor]] = {}
    for parameter in parameters:
        decay = 0.0 if id(parameter) in light else config.weight_decay
        sorted_.setdefault((lr * factors[id(parameter)], decay), []).append(parameter)
    return [
        {"params": params, "base_lr": rate, "lr": rate, "weight_decay": decay}
        for (rate, decay), params in sorted_.items()
    ]


def layer_factors(network: nn.Module, layers: Mapping[str, float]) -> dict[int, float]:
    """The learning rate's factor of each parameter, by its id.

    A pattern is the name of a part of the network, with `*` for anything: it speaks for all that
    is in that part. Factors of several patterns multiply; UserError if one matches nothing.
    """
    names = [name for name, _ in network.named_modules() if name]
    for pattern in layers:
        if not any(_matches(pattern, name) for name, _ in network.named_parameters()):
            near = difflib.get_close_matches(pattern, names, 3, 0.4) or names[:3]
            raise UserError(f"optim.layers: no layer is called {pattern!r}; {', '.join(near)} are")
    factors = {}
    for name, parameter in network.named_parameters():
        factors[id(parameter)] = 1.0
        for pattern, factor in layers.items():
            factors[id(parameter)] *= factor if _matches(pattern, name) else 1.0
    return factors


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _undecayed(network: nn.Module) -> Iterator[Tensor]:
    """Norms' and biases' parameters and embeddings: a rare word's row would only decay."""
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.dim() < 2 or not isinstance(module, nn.Linear | nn.Conv2d):
                yield parameter
