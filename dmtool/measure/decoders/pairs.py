"""Real pictures and what was made of each of them, compared one by one and as two sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from dmtool.data.quality import psnr, ssim
from dmtool.draw.sheet import contact_sheet, tile
from dmtool.measure.decoders.perceptual import PerceptualDistance
from dmtool.measure.distances.distance import distance
from dmtool.measure.features.features import FeatureExtractor

QUANTILES = (0.05, 0.5, 0.95)
CELL = 128  # pixels of a picture on a sheet, if it is not larger


@dataclass(frozen=True)
class Made:
    """What was made of a real picture: its figures beside that picture, and its features [d]."""

    figures: dict[str, float]
    features: NDArray[np.float32]


@dataclass(frozen=True)
class PicturePair:
    """A real picture's features [d], and what each method made of it, the stage's own first."""

    features: NDArray[np.float32]
    made: dict[str, Made]

    @property
    def own(self) -> dict[str, float]:
        """The figures of what the stage itself made."""
        return next(iter(self.made.values())).figures


@dataclass(frozen=True)
class Results:
    """What some real pictures became: by each method's name, uint8 [B, 3, H, W] on the CPU.

    `more` are further figures [B] of each method, by name; `latents` [B, C, h, w] are what the
    pictures were in between, if it is of interest.
    """

    made: dict[str, Tensor]
    more: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    latents: Tensor | None = None


@dataclass(frozen=True)
class Meter:
    """Real pictures, uint8 [B, 3, H, W] on the CPU, and their results -> B pairs."""

    extractor: FeatureExtractor
    perceptual: PerceptualDistance

    def __call__(self, real: Tensor, results: Results) -> list[PicturePair]:
        made = {
            name: self._made(real, pictures, results.more.get(name, {}))
            for name, pictures in results.made.items()
        }
        return [
            PicturePair(row, {name: each[i] for name, each in made.items()})
            for i, row in enumerate(self._features(real))
        ]

    def _made(self, real: Tensor, made: Tensor, more: dict[str, Tensor]) -> list[Made]:
        figures = {"psnr": psnr(real, made), "ssim": ssim(real, made)}
        figures |= {"distance": self.perceptual(real, made), **more}
        columns = {name: values.tolist() for name, values in figures.items()}
        return [
            Made({name: column[i] for name, column in columns.items()}, row)
            for i, row in enumerate(self._features(made))
        ]

    def _features(self, pictures: Tensor) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self.extractor(pictures).cpu().numpy()
        return features


def summary(pairs: Sequence[PicturePair], method: str) -> dict[str, Any]:
    """The figures of a method over all pairs, for JSON: the Fréchet distance, and how the figures
    of single pictures are spread."""
    made = [pair.made[method] for pair in pairs]
    found = distance([each.features for each in made], [p.features for p in pairs])
    spreads = {name: spread([each.figures[name] for each in made]) for name in made[0].figures}
    terms = {"mean_term": found.mean_term, "cov_term": found.cov_term}
    return {"fd": found.distance, **terms, **spreads}


def spread(values: ArrayLike) -> dict[str, float]:
    """Mean, standard deviation (over n), quantiles, for JSON."""
    values = np.asarray(values, np.float64)
    quantiles = np.quantile(values, QUANTILES)
    named = {f"q{100 * q:g}": float(x) for q, x in zip(QUANTILES, quantiles, strict=True)}
    return {"mean": float(values.mean()), "std": float(values.std()), **named}


def worst(pairs: Sequence[PicturePair], count: int) -> list[int]:
    """The places of the `count` pictures of lowest PSNR, worst first."""
    return sorted(range(len(pairs)), key=lambda i: pairs[i].own["psnr"])[:count]


def side_by_side(sets: Sequence[Tensor], texts: Sequence[str], columns: int) -> Image.Image:
    """A sheet on which picture i of each set [N, 3, H, W] (uint8) stands beside the others' i-th,
    with text i below."""
    rows = [tile(pictures, len(sets)) for pictures in torch.stack(list(sets), dim=1)]
    return contact_sheet(rows, texts, columns, max(1, CELL // sets[0].shape[-1]))
