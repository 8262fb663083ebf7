"""A metric: how far the mean of the generated pictures' features is from that of the real ones."""

from __future__ import annotations

import numpy as np

from dmtool.measure.measures import Figures, Measure, Sets


def figures(sets: Sets) -> Figures:
    """Euclidean, and its largest part."""
    away = np.asarray(sets.fake, float).mean(0) - np.asarray(sets.real, float).mean(0)
    return {"distance": float(np.linalg.norm(away)), "largest": float(np.abs(away).max())}


COLOUR = Measure(1, figures, {"distance": "Euclidean, of the means"})
