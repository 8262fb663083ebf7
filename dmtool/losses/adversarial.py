"""What a critic of pictures minimises, and who wants to deceive it, example by example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class Game:
    """Both are of logits [B] of real pictures and of the fakes made of them, and give [B].

    `compares`: who deceives minds the real ones as well.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    deceit: Callable[[Tensor, Tensor], Tensor]
    compares: bool = False


GAMES = {
    "hinge": Game(
        critic=lambda real, fake: relu(1 - real) + relu(1 + fake),
        deceit=lambda real, fake: -fake,
    ),
    "non_saturating": Game(
        critic=lambda real, fake: softplus(-real) + softplus(fake),
        deceit=lambda real, fake: softplus(-fake),
    ),
    "least_squares": Game(
        critic=lambda real, fake: ((real - 1) ** 2 + fake**2) / 2,
        deceit=lambda real, fake: (fake - 1) ** 2 / 2,
    ),
    "relativistic": Game(
        critic=lambda real, fake: softplus(fake - real),
        deceit=lambda real, fake: softplus(real - fake),
        compares=True,
    ),
}
"""Lim & Ye (arXiv:1705.02894); Goodfellow et al. (arXiv:1406.2661); Mao et al. (arXiv:1611.04076);
Jolicoeur-Martineau (arXiv:1807.00734), each real picture with its own fake."""


def lecam(real: Tensor, fake: Tensor, mean_real: Tensor, mean_fake: Tensor) -> Tensor:
    """How far logits [B] lie beyond the moving means of the other side (Tseng et al.,
    arXiv:2104.03310, eq. 5): it holds a critic back that has few pictures."""
    return relu(real - mean_fake) ** 2 + relu(mean_real - fake) ** 2
