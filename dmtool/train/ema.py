"""Averaged weights: the ones that are exported and sampled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


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


class Ema:
    """A power-function average of all floating-point weights, in float32 (EDM2, arXiv:2312.02696).

    After a step of B pictures that ends at n pictures seen, the average moves by
    1 - (1 - B / n) ** (gamma + 1) towards the weights: no start-up phase is to be set, and the
    average does not depend on how pictures are grouped into processes. sigma_rel = 0 copies.
    """

    def __init__(self, network: nn.Module, sigma_rel: float) -> None:
        self.exponent = gamma(sigma_rel) + 1 if sigma_rel else None
        self.network = network
        self.weights = {
            name: tensor.detach().clone().float() if tensor.is_floating_point() else tensor.clone()
            for name, tensor in network.state_dict().items()
        }

    @torch.no_grad()
    def update(self, batch_size: int, pictures: int) -> None:
        """Average in the weights after a step of `batch_size`, `pictures` seen in all."""
        keep = 0.0 if self.exponent is None else (1 - batch_size / pictures) ** self.exponent
        live = self.network.state_dict()
        names = [name for name, tensor in live.items() if tensor.is_floating_point()]
        targets = [live[name].float() for name in names]
        torch._foreach_lerp_([self.weights[name] for name in names], targets, 1 - keep)
        for name, tensor in live.items():
            if not tensor.is_floating_point():
                self.weights[name].copy_(tensor)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the network has the averaged weights."""
        live = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.weights)
        try:
            yield
        finally:
            self.network.load_state_dict(live)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take up the averages of a checkpoint."""
        for name, tensor in self.weights.items():
            tensor.copy_(weights[name])
