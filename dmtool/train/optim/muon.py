"""Muon: momentum whose matrices are made orthogonal (Jordan et al., 2024; arXiv:2502.16982)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dmtool.device import pick_dtype
from dmtool.train.shard import gathered, local, part

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of Jordan's polynomial: steep at zero, singular values end within 0.7 and 1.2."""

Shape = tuple[int, int]


class Muon(Optimizer):
    """Steps weights of two or more dimensions, [out, ...] as the matrix [out, rest].

    Steps have the root mean square 0.2, as AdamW's usually have (arXiv:2502.16982, eq. 4), so its
    learning rates and weight decay can be kept. Equal shapes are made orthogonal together,
    by every process, which gathers shards for it.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step all weights that have a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            for same in _by_shape(parameters).values():
                self._step(same, group)

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        wide = [_wide(gathered(self._direction(p, group["momentum"]))) for p in parameters]
        directions = orthogonal(torch.stack(wide))
        size = 0.2 * max(directions.shape[1:]) ** 0.5
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            step = direction.mT if _tall(parameter) else direction
            mine = part(step.reshape(parameter.shape), parameter)
            local(parameter).add_(mine, alpha=-group["lr"] * size)

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        """The average of the gradients, one step of momentum ahead (Nesterov)."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["momentum"], momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """About U V^T of each of the matrices [N, rows, columns] = U S V^T, rows <= columns.

    Five Newton-Schulz steps, in bfloat16 where the processor is fast at it.
    """
    a, b, c = QUINTIC
    norm = torch.linalg.matrix_norm(matrices, keepdim=True)
    x = (matrices / norm.clamp(min=1e-7)).to(pick_dtype("auto", matrices.device))
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _by_shape(parameters: list[Tensor]) -> dict[Shape, list[Tensor]]:
    shapes: dict[Shape, list[Tensor]] = {}
    for parameter in parameters:
        rows, columns = sorted((len(parameter), parameter.shape[1:].numel()))
        shapes.setdefault((rows, columns), []).append(parameter)
    return shapes


def _tall(parameter: Tensor) -> bool:
    return len(parameter) > parameter.shape[1:].numel()


def _wide(weight: Tensor) -> Tensor:
    """[out, ...] as a matrix, lying on its side if it is tall."""
    return weight.flatten(1).mT if _tall(weight) else weight.flatten(1)
