"""One step of the forward process seen backwards: q(x_b | x_a, x_0), where a is the noisier."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Coefficients = tuple[Tensor, Tensor]
"""(alpha, sigma) of a time."""


class Posterior(NamedTuple):
    """q(x_b | x_a, x_0) = N(keep x_a + pull x_0, small) (Ho et al., arXiv:2006.11239, eq. 7).

    `small` is its variance beta-tilde, `large` is beta, the variance of q(x_a | x_b): the best
    choices for data that are a point and for data that are standard normal. Both hang on both ends
    of the step.
    """

    keep: Tensor
    pull: Tensor
    small: Tensor
    large: Tensor

    def between(self, fraction: Tensor) -> Tensor:
        """ln of the variance at a fraction of the way from `small` to `large`, in log space (Nichol
        & Dhariwal, arXiv:2102.09672, eq. 15)."""
        return fraction * self.large.log() + (1 - fraction) * self.small.log()


def posterior(a: Coefficients, b: Coefficients) -> Posterior:
    """That of the step from a down to b, for times of any shape; where b is the noisier one, no
    variance. alpha is above 0 at b, sigma at a."""
    (alpha_a, sigma_a), (alpha_b, sigma_b) = a, b
    ratio = alpha_a / alpha_b
    added = (sigma_a**2 - (ratio * sigma_b) ** 2).clamp(min=0)
    keep, pull = ratio * (sigma_b / sigma_a) ** 2, alpha_b * added / sigma_a**2
    return Posterior(keep, pull, added * (sigma_b / sigma_a) ** 2, added)
