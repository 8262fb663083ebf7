"""The outlines of shapes, and how much of each pixel they cover."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLES = 4  # of each pixel, a side
ARM = 0.36  # half of the width of the cross's arms
NOTCH = 0.45  # the star's inner radius


def inside(shape: str, x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Which points lie in `shape` when it fills the square [-1, 1] x [-1, 1] (y downwards)."""
    across, along = np.abs(x), np.abs(y)
    box = np.maximum(across, along) <= 1
    if shape == "circle":
        return x**2 + y**2 <= 1
    if shape == "square":
        return box
    if shape == "triangle":
        return box & (2 * across <= y + 1)
    if shape == "cross":
        return box & (np.minimum(across, along) <= ARM)
    assert shape == "star"
    return _inside_star(x, y)


def coverage(shape: str, x: float, y: float, extent: float, size: int) -> Floats:
    """How much of each pixel `shape` covers: (size, size), 0 to 1.

    (x, y) is the centre of its square and `extent` the square's side, as shares of the picture's.
    """
    covered = np.zeros((size, size))
    left, right = _span(x, extent, size)
    top, bottom = _span(y, extent, size)
    across, down = _samples(left, right, x, extent, size), _samples(top, bottom, y, extent, size)
    points = inside(shape, across[None, :], down[:, None])
    cells = points.reshape(bottom - top, SAMPLES, right - left, SAMPLES)
    covered[top:bottom, left:right] = cells.mean(axis=(1, 3))
    return covered


def _span(centre: float, extent: float, size: int) -> tuple[int, int]:
    first, last = (centre - extent / 2) * size, (centre + extent / 2) * size
    return max(math.floor(first), 0), min(math.ceil(last), size)


def _samples(first: int, last: int, centre: float, extent: float, size: int) -> Floats:
    points = np.arange(first * SAMPLES, last * SAMPLES) + 0.5
    return (points / (SAMPLES * size) - centre) / (extent / 2)


def _inside_star(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Below the straight edge from the nearest tip to the notch beside it."""
    fifth = 2 * math.pi / 5
    angle = np.abs((np.arctan2(x, -y) + fifth / 2) % fifth - fifth / 2)
    across, along = NOTCH * math.sin(fifth / 2), NOTCH * math.cos(fifth / 2)
    radius = np.hypot(x, y)
    return radius * (np.cos(angle) * across + np.sin(angle) * (1 - along)) <= across


@cache
def area_and_centroid(shape: str) -> tuple[float, float]:
    """The area (as a share of the square's) and how far the centroid lies below the centre."""
    grid = (np.arange(500) + 0.5) / 250 - 1
    mask = inside(shape, grid[None, :], grid[:, None])
    return float(mask.mean()), float((mask * grid[:, None]).sum() / mask.sum() / 2)
