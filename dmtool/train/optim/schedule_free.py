"""Schedule-free AdamW (Defazio et al., arXiv:2405.15682, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Tensors = list[Tensor]


class ScheduleFree(Optimizer):
    """AdamW at points y between its iterates z and their average x, which is to be used.

    Each iterate counts as its squared rate in x, so none of a warm-up count for much. The weights
    are y; x is kept beside z, not computed from y and z: it is then exact, and looking at it
    changes nothing.
    """

    def __init__(
        self,
        params: list[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"steps": 0, "weight": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step all weights that have a gradient."""
        for group in self.param_groups:
            group["steps"] += 1
            rate = group["lr"] * (1 - group["betas"][1] ** group["steps"]) ** 0.5
            group["weight"] += rate**2
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step(parameters, group, rate)

    def _step(self, y: Tensors, group: dict[str, Any], rate: float) -> None:
        beta1, beta2 = group["betas"]
        z, x, square = self._states(y)
        gradients = [p.grad for p in y]
        torch._foreach_mul_(square, beta2)
        torch._foreach_addcmul_(square, gradients, gradients, 1 - beta2)  # type: ignore[arg-type]
        root = torch._foreach_sqrt(square)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(z, gradients, root, -rate)  # type: ignore[arg-type]
        torch._foreach_add_(z, y, alpha=-rate * group["weight_decay"])
        torch._foreach_lerp_(x, z, rate**2 / group["weight"] if group["weight"] else 1.0)
        _copy(y, z)
        torch._foreach_lerp_(y, x, beta1)

    def _states(self, parameters: Tensors) -> tuple[Tensors, Tensors, Tensors]:
        for p in parameters:
            if not self.state[p]:
                start = {"z": p.clone(), "x": p.clone(), "square": torch.zeros_like(p)}
                self.state[p].update(start)
        states = [self.state[p] for p in parameters]
        z, x, square = ([state[name] for state in states] for name in ("z", "x", "square"))
        return z, x, square

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the weights are x."""
        weights = [p.detach() for p in self.state]
        points = [weight.clone() for weight in weights]
        _copy(weights, [state["x"] for state in self.state.values()])
        try:
            yield
        finally:
            _copy(weights, points)


def _copy(targets: Tensors, sources: Tensors) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)
