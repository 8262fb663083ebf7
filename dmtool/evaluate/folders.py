"""The Fréchet distance between two sets of pictures, with no run and no captions.

A set is a folder, or an `.npz` file of statistics, features or images (see `statistics`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dmtool.evaluate import sample, sets, statistics
from dmtool.evaluate.features import FeatureExtractor
from dmtool.evaluate.frechet import Frechet, frechet_distance, frechet_distance_low_rank
from dmtool.evaluate.record import record
from dmtool.evaluate.sample import Sample
from dmtool.processes import ALONE, Group


def load(
    place: Path,
    extractor: FeatureExtractor,
    batch_size: int,
    group: Group = ALONE,
    generated: bool = False,
) -> Sample:
    """The features of the pictures below a folder, or what an `.npz` file holds of some.

    All processes call it together; each has all of it. Of `generated` pictures lossy files are
    noted. Raises UserError if a folder is missing, has fewer than two pictures or one that cannot
    be read, or if a file was made with another extractor.
    """
    if place.is_file():
        return statistics.read(place, extractor, batch_size)
    found = sets.folder(place, group)
    return sample.of(found, extractor, batch_size, found.lossy if generated else ())


def compare_folders(
    real: Path, fake: Path, extractor: FeatureExtractor, batch_size: int, group: Group = ALONE
) -> dict[str, Any]:
    """The distance between two sets of pictures, as a record for JSON, on the main process."""
    one = load(real, extractor, batch_size, group)
    two = load(fake, extractor, batch_size, group, generated=True)
    found = _distance(one, two, group)
    if found is None:
        return {}
    return _record(extractor, one, two) | {
        "value": found.distance,
        "mean_term": found.mean_term,
        "cov_term": found.cov_term,
        "real": one.facts,
        "fake": two.facts,
    }


def _distance(one: Sample, two: Sample, group: Group) -> Frechet | None:
    """The cheaper exact way, on the main process."""
    if one.rows_below_dim or two.rows_below_dim:
        x, y = one.rows, two.rows
        if x is not None and y is not None:
            return frechet_distance_low_rank(x, y) if group.main else None
    a, b = one.moments(group), two.moments(group)
    return frechet_distance(a, b) if group.main else None


def _record(extractor: FeatureExtractor, one: Sample, two: Sample) -> dict[str, Any]:
    known = [side.n for side in (one, two) if side.n is not None]
    result = record(extractor, min(known, default=0), min(known, default=0))
    result |= {"n_real": one.n, "n_fake": two.n, "warnings": [*one.notes, *two.notes]}
    if not known:
        return result | {"n_below_dim": None, "provisional": None}
    if result["n_below_dim"]:
        result["warnings"].append(
            f"{min(known):,} pictures are no more than the {extractor.dim:,} features: the "
            "distance is mostly bias and compares with those of the same N only"
        )
    return result
