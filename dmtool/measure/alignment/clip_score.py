"""The CLIP score in the forms that the field prints, by name, each with the way that is better.

What is stored is the mean raw cosine of pictures and their captions; figures of other models, and
of other forms, are not comparable.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HESSEL_PREFIX = "A photo depicts "
HESSEL_MODEL = "ViT-B/32"


class Form(NamedTuple):
    """How a form is computed, and whether higher or lower is better."""

    words: str
    better: str


FORMS = {
    "cosine": Form("mean raw cosine", "higher"),
    "hessel": Form(f'Hessel: mean of 2.5 max(cos, 0), "{HESSEL_PREFIX}..."', "higher"),
    "torchmetrics": Form("torchmetrics: max(100 mean cos, 0)", "higher"),
    "distance": Form("distance: 1 - mean cos", "lower"),
}
"""Hessel et al. 2021 (arXiv:2104.08718) clip each cosine and put a prefix before each caption, with
ViT-B/32; torchmetrics clips the mean alone. The distance is what some call "CLIP score, smaller is
better"."""


def scores(cosines: Floats, prefixed: Floats) -> dict[str, float]:
    """Each of `FORMS` from the cosines [N] of pictures with captions, and with prefixed ones."""
    mean = float(cosines.mean())
    return {
        "cosine": mean,
        "hessel": 2.5 * float(np.maximum(prefixed, 0).mean()),
        "torchmetrics": max(100 * mean, 0.0),
        "distance": 1 - mean,
    }


def label(form: str, architecture: str) -> str:
    """A form's name with the way that is better, and a word where the model is not the form's."""
    words, better = FORMS[form]
    other = form == "hessel" and architecture != HESSEL_MODEL
    return f"{words}{f' (his model: {HESSEL_MODEL})' if other else ''}, {better} is better"
