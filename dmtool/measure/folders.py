"""Two sets of pictures compared, with no run and no captions.

A set is a folder, or an `.npz` file of statistics, features or images (see `statistics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmtool.measure import measures
from dmtool.measure.distances.frechet import Frechet, frechet_distance, frechet_distance_low_rank
from dmtool.measure.distances.lot import Lot
from dmtool.measure.features import feature_set, picture_folder, statistics
from dmtool.measure.features.feature_set import FeatureSet
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.measures import Figures, Sets
from dmtool.measure.record import result
from dmtool.processes import ALONE, Group


def load(
    place: Path,
    extractor: FeatureExtractor,
    batch_size: int,
    group: Group = ALONE,
    generated: bool = False,
) -> FeatureSet:
    """The features of the pictures below a folder, or what an `.npz` file holds of some.

    All processes call it together; each has all of it. Of `generated` pictures lossy files are
    noted. Raises UserError if a folder is missing, has fewer than two pictures or one that cannot
    be read, or if a file was made with another extractor.
    """
    if place.is_file():
        return statistics.read(place, extractor, batch_size)
    found = picture_folder.folder(place, group)
    return feature_set.of(found, extractor, batch_size, found.lossy if generated else ())


def compare_folders(
    real: Path,
    fake: Path,
    extractor: FeatureExtractor,
    batch_size: int,
    wanted: Sequence[str],
    seed: int,
    group: Group = ALONE,
    max_real: int | None = None,
) -> dict[str, Any]:
    """The figures `wanted` of two sets of pictures, as a result for JSON, on the main process.

    Measures of all pairs take `max_real` of the real pictures, if there are more.
    """
    measures.check(extractor, wanted)
    one = load(real, extractor, batch_size, group)
    two = load(fake, extractor, batch_size, group, generated=True)
    found = _distance(one, two, group) if "fd" in wanted else None
    if not group.main:
        return {}
    figures: Figures = {"n_fake": two.n, "n_real": one.n}
    figures |= measures.terms(found) if found else {}
    others = [name for name in wanted if name != "fd"]
    lot = Lot(one.names, max_real, seed)
    figures |= _of_rows(one, two, extractor, others, lot)
    protocol = {"real": one.facts, "seed": seed}
    if "n_real_drawn" in figures:
        protocol |= lot.protocol("max_real", len(one.names))
    whole = result(extractor, {"all": figures}, wanted, protocol)
    notes = [*one.notes, *two.notes, *_missing(one, two, others)]
    return whole | {"settings": {"fake": two.facts}, "warnings": [*notes, *whole["warnings"]]}


def _distance(one: FeatureSet, two: FeatureSet, group: Group) -> Frechet | None:
    """The cheaper exact way, on the main process."""
    for few, other in ((two, one), (one, two)):
        if few.rows_below_dim:
            moments, rows = other.moments(group), few.rows
            assert rows is not None
            return frechet_distance_low_rank(rows, moments) if group.main else None
    a, b = one.moments(group), two.moments(group)
    return frechet_distance(a, b) if group.main else None


def _of_rows(
    one: FeatureSet, two: FeatureSet, extractor: FeatureExtractor, wanted: Sequence[str], lot: Lot
) -> Figures:
    """The figures that need the rows of both sides; none of them if a side has moments alone."""
    if not wanted or one.chunks is None or two.chunks is None:
        return {}
    real, fake = one.rows, two.rows
    assert real is not None and fake is not None
    logits = measures.logits(extractor, fake, wanted)
    chosen = lot(np.arange(len(real)))
    drawn = None if len(chosen) == len(real) else real[chosen]
    return measures.measure(Sets(fake, real, lot.seed, logits, drawn=drawn), wanted)


def _missing(one: FeatureSet, two: FeatureSet, wanted: Sequence[str]) -> list[str]:
    """The note on what statistics do not give."""
    if not wanted or (one.chunks is not None and two.chunks is not None):
        return []
    return [f"of means and covariances alone there is a distance and no {', '.join(wanted)}"]
