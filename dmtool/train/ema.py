"""Averaged weights: the ones that are exported and sampled, and those that snapshots are of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from dmtool.config.ema import Ema as EmaConfig
from dmtool.config.ema import ExponentialEma, PowerEma
from dmtool.nn.precision import wide
from dmtool.train.shard import local, norm

Weights = dict[str, Tensor]


@lru_cache
def gamma(sigma_rel: float) -> float:
    """The exponent of a power-function average of relative width sigma_rel (EDM2, eq. 126).

    Solves sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)) by bisection; the width falls
    from 0.289 at gamma = 0.
    """
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        width = ((middle + 1) / ((middle + 2) ** 2 * (middle + 3))) ** 0.5
        low, high = (middle, high) if width > sigma_rel else (low, middle)
    return low


@dataclass(frozen=True)
class Power:
    """Weights seen at n' of n pictures count as n' ** gamma (EDM2, arXiv:2312.02696, eq. 121).

    The width sigma_rel, a share of the training so far, stays the same as it goes on; 0 copies.
    """

    sigma_rel: float

    def share(self, batch_size: int, pictures: int) -> float:
        """How much of the average the last step is: 1 - (1 - B / n) ** (gamma + 1)."""
        if not self.sigma_rel:
            return 1.0
        return 1 - (1 - batch_size / pictures) ** (gamma(self.sigma_rel) + 1)

    def card(self) -> dict[str, str | float]:
        return {"kind": "power", "sigma_rel": self.sigma_rel}


@dataclass(frozen=True)
class Exponential:
    """Weights count half as much for each `half_life` pictures that they are older."""

    half_life: int

    def share(self, batch_size: int, pictures: int) -> float:
        """How much of the average the last step is: (1 - q^B) / (1 - q^n) with q^half_life = 1/2.

        The denominator makes the shares of all steps so far sum to one (as Adam's correction).
        """
        rate = math.log(2) / self.half_life
        return math.expm1(-rate * batch_size) / math.expm1(-rate * pictures)

    def card(self) -> dict[str, str | float]:
        return {"kind": "exponential", "half_life": self.half_life}


Profile = Power | Exponential


PROFILES: dict[type, Callable[[Any], Profile]] = {
    PowerEma: lambda config: Power(config.sigma_rel),
    ExponentialEma: lambda config: Exponential(config.half_life),
}


def profile(config: EmaConfig) -> Profile:
    """The average that a config exports."""
    return PROFILES[type(config)](config)


class Ema:
    """Averages of all floating-point weights, in at least float32: one to export, and `snapshots`.

    The averages count pictures: no start-up phase is to be set, the first step forgets the initial
    weights, and they do not depend on how pictures are grouped into steps and processes. An
    exported average whose width is among the snapshots' is kept once.
    """

    def __init__(
        self, network: nn.Module, exported: Profile, snapshots: Sequence[float] = ()
    ) -> None:
        self.network, self.exported = network, exported
        self.snapshots = [Power(sigma_rel) for sigma_rel in snapshots]
        self.averages = {each: _copy(network) for each in (exported, *self.snapshots)}

    @property
    def weights(self) -> Weights:
        """The exported average."""
        return self.averages[self.exported]

    @torch.no_grad()
    def update(self, batch_size: int, pictures: int) -> None:
        """Average in the weights after a step of `batch_size`, `pictures` seen in all."""
        live = {name: local(tensor) for name, tensor in self.network.state_dict().items()}
        names = [name for name, tensor in live.items() if tensor.is_floating_point()]
        targets = [wide(live[name]) for name in names]
        others = [name for name, tensor in live.items() if not tensor.is_floating_point()]
        for each, weights in self.averages.items():
            share = each.share(batch_size, pictures)
            torch._foreach_lerp_([local(weights[name]) for name in names], targets, share)
            for name in others:
                weights[name].copy_(live[name])

    @torch.no_grad()
    def distance(self) -> Tensor:
        """How far the weights are from the exported average, relative to its norm: a scalar."""
        live = self.network.state_dict()
        names = [name for name, tensor in live.items() if tensor.is_floating_point()]
        averaged = [self.weights[name] for name in names]
        differences = [wide(live[name]) - self.weights[name] for name in names]
        return norm(differences) / norm(averaged)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the network has the exported average's weights."""
        live = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.weights)
        try:
            yield
        finally:
            self.network.load_state_dict(live)

    def state(self) -> Weights:
        """All averages, as a checkpoint holds them."""
        return {
            f"{_label(each)}/{name}": tensor
            for each, weights in self.averages.items()
            for name, tensor in weights.items()
        }

    def exported_in(self, state: Weights) -> Weights:
        """The exported average in a checkpoint's state."""
        return {name: state[f"{_label(self.exported)}/{name}"] for name in self.weights}

    def load(self, state: Weights) -> None:
        """Take up the averages of a checkpoint."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def _copy(network: nn.Module) -> Weights:
    return {
        name: wide(tensor.detach().clone()) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in network.state_dict().items()
    }


def _label(each: Profile) -> str:
    return "-".join(map(str, each.card().values()))
