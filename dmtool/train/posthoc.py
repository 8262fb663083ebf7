"""Averages of any length, put together from snapshots of a few (EDM2, arXiv:2312.02696).

An average of width sigma_rel at time T is a profile p(t) = (gamma + 1) t^gamma / T^(gamma + 1) over
[0, T] of how much the weights at each time count. A weighted sum of snapshots has the weighted sum
of their profiles: the weights are those that bring it nearest to the wanted profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from torch import Tensor

from dmtool.errors import UserError
from dmtool.train.ema import gamma
from dmtool.train.snapshots import Snapshot

TOLERANCE = 0.05
"""The largest distance from the wanted profile, relative to its norm, that is let pass."""

WIDEST = 0.28
"""No power function with a positive exponent is much wider (0.289)."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Fit:
    """How much each snapshot counts, and the distance from the profile, relative to its norm."""

    weights: Array
    error: float


def inner(t_a: Array, gamma_a: Array, t_b: Array, gamma_b: Array) -> Array:
    """Integrals of the products of profiles that end at t_a > 0 and t_b > 0 (appendix C.3).

    With m = min(t_a, t_b): (gamma_a + 1) (gamma_b + 1) / (gamma_a + gamma_b + 1) / m
    * (m / t_a) ** (gamma_a + 1) * (m / t_b) ** (gamma_b + 1). Arguments are broadcast.
    """
    m, a, b = np.minimum(t_a, t_b), gamma_a + 1, gamma_b + 1
    return cast(Array, a * b / (a + b - 1) / m * (m / t_a) ** a * (m / t_b) ** b)


def fit(snapshots: Sequence[Snapshot], sigma_rel: float) -> Fit:
    """The snapshots' weights for an average of width `sigma_rel` at the last one's moment.

    Least squares, as the paper's, under the condition that the weights sum to one: a network whose
    weights have a scale of their own must keep it. All in float64, with time in units of the last
    moment.
    """
    t = np.array([each.pictures for each in snapshots], float) / snapshots[-1].pictures
    exponents = np.array([gamma(each.sigma_rel) for each in snapshots])
    end, wanted = np.ones(1), np.array([gamma(sigma_rel)])
    products = inner(t[:, None], exponents[:, None], t, exponents)
    right = inner(t, exponents, end, wanted)
    ones = np.ones(len(t))
    system = np.block([[products, ones[:, None]], [ones, 0.0]])
    solution = np.linalg.lstsq(system, np.append(right, 1.0), rcond=1e-13)[0]
    x, norm = solution[:-1], inner(end, wanted, end, wanted).item()
    square = norm - 2 * x @ right + x @ products @ x
    return Fit(x, float(np.sqrt(max(square, 0.0) / norm)))


def checked(snapshots: Sequence[Snapshot], sigma_rel: float) -> Fit:
    """The fit; UserError that names the range if these snapshots do not reach this width."""
    if 0 < sigma_rel <= WIDEST:
        found = fit(snapshots, sigma_rel)
        if found.error <= TOLERANCE:
            return found
    ranges = " and ".join(f"from {low:g} to {high:g}" for low, high in span(snapshots))
    moments = len({each.pictures for each in snapshots})
    raise UserError(
        f"a sigma_rel of {sigma_rel:g} cannot be reconstructed: the snapshots of this run "
        f"({moments} moments) reach {ranges}"
    )


def span(snapshots: Sequence[Snapshot]) -> list[tuple[float, float]]:
    """The ranges of widths, in steps of a thousandth, that are within the tolerance."""
    ranges: list[tuple[int, int]] = []
    for width in range(1, round(WIDEST * 1000) + 1):
        if fit(snapshots, width / 1000).error > TOLERANCE:
            continue
        if ranges and ranges[-1][1] == width - 1:
            ranges[-1] = (ranges[-1][0], width)
        else:
            ranges.append((width, width))
    return [(low / 1000, high / 1000) for low, high in ranges]


def combine(snapshots: Sequence[Snapshot], weights: Array) -> dict[str, Tensor]:
    """The weighted sum of the snapshots in float32; integers are the last snapshot's."""
    total: dict[str, Tensor] = {}
    for snapshot, weight in zip(snapshots, weights.tolist(), strict=True):
        for name, tensor in snapshot.tensors().items():
            if name in total and total[name].shape != tensor.shape:
                raise UserError(f"{snapshot.file}: {name} is that of another network")
            if not tensor.is_floating_point():
                total[name] = tensor
            elif name in total:
                total[name].add_(tensor.float(), alpha=weight)
            else:
                total[name] = tensor.float() * weight
    return total
