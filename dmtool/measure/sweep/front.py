"""The Pareto front of quality and alignment.

Of quality, a distance, less is better, of alignment more. The two trade against each other along
guidance: by such curves Saharia et al. (arXiv:2205.11487, figure 4) compare the sizes of text
encoders and U-Nets.
"""

from __future__ import annotations

from collections.abc import Sequence


def front(quality: Sequence[float], alignment: Sequence[float]) -> list[bool]:
    """Which points [N] no other one beats: none is as good in both and better in one."""
    points = list(zip(quality, alignment, strict=True))
    return [not any(_beats(other, each) for other in points) for each in points]


def _beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a != b and a[0] <= b[0] and a[1] >= b[1]
