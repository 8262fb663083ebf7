"""From rows of features to figures: all that can be measured, by the names that a config lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dmtool.config import kinds
from dmtool.errors import UserError
from dmtool.measure.distances import inception_score, infinity, kid, manifold, mind, spread
from dmtool.measure.distances.cmmd import SIGMA, cmmd
from dmtool.measure.distances.distance import distance
from dmtool.measure.distances.floor import floors
from dmtool.measure.distances.frechet import Frechet
from dmtool.measure.distances.tiles import Rows, blocks
from dmtool.measure.features.features import FeatureExtractor

Figures = dict[str, Any]

RETRIEVAL = "retrieval"
"""The one measure that needs more than two sets: which picture belongs to which caption."""


@dataclass(frozen=True)
class Sets:
    """Features fake [n, d] and real [m, d], the classifier's logits [n, classes] of the generated
    pictures if they are wanted, and the seed of what is drawn at random.

    `true` [n, d]: the real pictures of the captions that were painted, where captions are known.
    `drawn` [k, d]: the real ones that measures of all pairs take, where they do not take all.
    """

    fake: Rows
    real: Rows
    seed: int
    logits: Rows | None = None
    true: Rows | None = None
    drawn: Rows | None = None

    @property
    def paired(self) -> Rows:
        """The real pictures of measures of all pairs."""
        return self.real if self.drawn is None else self.drawn

    @property
    def fewest(self) -> int:
        return min(len(self.fake), len(self.real))


def _of_any(extractor: FeatureExtractor) -> None:
    """No extractor is refused."""


@dataclass(frozen=True)
class Measure:
    """What gives figures of two sets of at least `least` pictures, and by which protocol.

    `fits` raises a UserError for an extractor that it cannot be of. `pairs`: it compares all real
    pictures with one another. `logits`: it is of the classifier's.
    """

    least: int
    figures: Callable[[Sets], Figures]
    protocol: dict[str, Any]
    fits: Callable[[FeatureExtractor], None] = _of_any
    pairs: bool = False
    logits: bool = False


def check(extractor: FeatureExtractor, wanted: Sequence[str]) -> None:
    """UserError if the extractor does not have what a wanted measure is of."""
    for each in _chosen(wanted).values():
        each.fits(extractor)


def logits(extractor: FeatureExtractor, fake: Rows, wanted: Sequence[str]) -> Rows | None:
    """What the extractor's classifier makes of features [n, d], if a wanted measure is of it."""
    if not any(each.logits for each in _chosen(wanted).values()):
        return None
    parts = [extractor.logits(torch.from_numpy(fake[rows])) for rows in blocks(len(fake))]
    return torch.cat(parts).cpu().numpy()


def measure(sets: Sets, wanted: Sequence[str]) -> Figures:
    """The figures of the measures `wanted`, with the pictures' numbers, for JSON.

    One that needs more pictures than there are is left out, see `too_few`. Those of a package's
    measure stand under its name.
    """
    found: Figures = {"n_fake": len(sets.fake), "n_real": len(sets.real)}
    chosen = _chosen(wanted)
    if len(sets.paired) < len(sets.real) and any(each.pairs for each in chosen.values()):
        found["n_real_drawn"] = len(sets.paired)
    for name, each in chosen.items():
        if sets.fewest >= each.least:
            figures = each.figures(sets)
            found |= figures if name in MEASURES else {name: figures}
    return found


def protocols(wanted: Sequence[str]) -> dict[str, Any]:
    """By which protocol each measure is made."""
    return {name: each.protocol for name, each in _chosen(wanted).items()}


def too_few(figures: Figures, wanted: Sequence[str]) -> list[str]:
    """The measures that `measure` has left out of `figures`."""
    n = fewest(figures)
    return [name for name, each in _chosen(wanted).items() if n is not None and n < each.least]


def fewest(figures: Figures) -> int | None:
    """Pictures of the smaller set; None if neither number is known."""
    return min((n for n in (figures["n_fake"], figures["n_real"]) if n is not None), default=None)


def _chosen(wanted: Sequence[str]) -> dict[str, Measure]:
    return {name: _known(name) for name in wanted if name != RETRIEVAL}


def _known(name: str) -> Measure:
    """dmtool's own measure of this name, or a package's."""
    return MEASURES[name] if name in MEASURES else kinds.load("metric", name, Measure)


def _fd(sets: Sets) -> Figures:
    return terms(distance(sets.fake, sets.real))


def terms(found: Frechet) -> Figures:
    """A Fréchet distance with its two parts, for JSON."""
    return {"fd": found.distance, "mean_term": found.mean_term, "cov_term": found.cov_term}


def _floor(sets: Sets) -> Figures:
    return {"floor": floors(sets.real, len(sets.fake), sets.seed, sets.true)}


def _spread(sets: Sets) -> Figures:
    return {"spread": spread.spread(sets.fake, sets.real, sets.seed)}


def _kid(sets: Sets) -> Figures:
    found: Figures = {"kid": kid.kid(sets.fake, sets.paired)}
    if sets.fewest > kid.SIZE:
        found["kid_subsets"] = kid.kid_subsets(sets.fake, sets.real)._asdict()
    return found


def _manifold(sets: Sets) -> Figures:
    return manifold.manifold(sets.fake, sets.paired)._asdict()


def _mind(sets: Sets) -> Figures:
    return {"mind": mind.mind(sets.fake, sets.real)}


def _cmmd(sets: Sets) -> Figures:
    return {"cmmd": cmmd(sets.fake, sets.paired)}


def _infinity(sets: Sets) -> Figures:
    return {"infinity": infinity.infinity(sets.fake, sets.real, sets.seed)._asdict()}


def _inception_score(sets: Sets) -> Figures:
    assert sets.logits is not None
    return {"inception_score": inception_score.inception_score(sets.logits)._asdict()}


def _of_clip(extractor: FeatureExtractor) -> None:
    if extractor.kind != "clip":
        raise UserError(
            f"CMMD is a distance of CLIP's features, not of {extractor.kind}'s: take "
            "extractor=clip, or leave cmmd out of metrics"
        )


def _with_classifier(extractor: FeatureExtractor) -> None:
    extractor.logits(torch.zeros(1, extractor.dim))


MEASURES: dict[str, Measure] = {
    "fd": Measure(2, _fd, {"covariance": "over n - 1, float64, nothing added"}),
    "floor": Measure(2, _floor, {
        "true pictures": "of the captions, one each, against the same reference",
        "disjoint sample": "as many real pictures against the rest",
    }),
    "spread": Measure(2, _spread, {
        "bootstrap": "of the generated pictures, the reference stays",
        "resamples": spread.RESAMPLES,
    }),
    "kid": Measure(2, _kid, {
        "kernel": "(x y / d + 1)^3", "estimate": "unbiased, all pairs",
        "subsets": kid.SUBSETS, "size": kid.SIZE, "seed": kid.SEED,
    }, pairs=True),
    "manifold": Measure(1 + max(manifold.K_PRECISION, manifold.K_DENSITY), _manifold, {
        "precision, recall": f"k = {manifold.K_PRECISION}, with the border",
        "density, coverage": f"k = {manifold.K_DENSITY}, without the border",
    }, pairs=True),
    "mind": Measure(2, _mind, {
        "factor": "3 d", "directions": mind.DIRECTIONS, "seed": mind.SEED,
    }),
    "cmmd": Measure(1, _cmmd, {
        "sigma": SIGMA, "estimate": "biased, all pairs", "factor": 1000,
    }, _of_clip, pairs=True),
    "infinity": Measure(2 * infinity.POINTS, _infinity, {
        "sizes": infinity.POINTS, "line": "over 1 / N; the reference's own bias stays in it",
    }),
    "inception_score": Measure(inception_score.SPLITS, _inception_score, {
        "splits": inception_score.SPLITS, "seed": inception_score.SEED,
    }, _with_classifier, logits=True),
}  # fmt: skip
