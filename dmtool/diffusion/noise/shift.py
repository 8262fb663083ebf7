"""How much a flow's times are shifted for larger pictures, whose noise hides less."""

from __future__ import annotations

import math


def sqrt_shift(shift: float, positions: int, base: int) -> float:
    """shift sqrt(m / n) for m positions, if `shift` fits n = `base` of them (Esser et al.,
    arXiv:2403.03206, section 5.3.2)."""
    return shift * math.sqrt(positions / base)


def exponential_shift(positions: int, between: tuple[int, int], mu: tuple[float, float]) -> float:
    """exp(mu), with mu linear in the number of positions through the two given points (FLUX.1)."""
    (low, high), (start, end) = between, mu
    return math.exp(start + (end - start) * (positions - low) / (high - low))
