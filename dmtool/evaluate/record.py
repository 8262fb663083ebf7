"""What must stand beside every figure, so that it can be judged and made again.

The JSON of a result, of a run and of two folders alike:

    metric      the Fréchet distance's name, e.g. "FD-EffNetLite0@224", which names the features
    n_real, n_fake, n_below_dim, provisional   of the group "all"
    extractor   the network and how pictures reach it, with the sha256 of its weights
    figures     {group: {name: value}}, "all" first; what a measure gives (see `measures`): fd,
                mean_term, cov_term; floor {fd, ...} or null; spread; kid, kid_subsets {mean, std};
                precision, recall, density, coverage; r@1, r@10, ceiling {r@1, r@10}; mind; cmmd;
                infinity {distance, slope, r2, sizes}; inception_score {mean, std}; n_fake, n_real
    protocol    how it was measured: results compare if this, metric and extractor are the same
    settings    of a run: how its pictures were made (checkpoint, ema, sampler, guidance, ...)
    warnings    sentences that belong beside the figures
    versions    of the packages that computed it
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from dmtool.evaluate.features import FeatureExtractor
from dmtool.evaluate.measures import Figures, protocols, too_few

PROVISIONAL = 10_000  # pictures below which the field calls a distance provisional


def result(
    extractor: FeatureExtractor,
    figures: dict[str, Figures],
    wanted: Sequence[str],
    protocol: dict[str, Any],
) -> dict[str, Any]:
    """The record of `figures`, of which the measures `wanted` were asked for."""
    whole = figures["all"]
    return record(extractor, whole["n_real"], whole["n_fake"]) | {
        "figures": figures,
        "protocol": protocol | {"measures": protocols(wanted)},
        "warnings": warnings(figures, wanted, extractor.dim),
    }


def record(extractor: FeatureExtractor, n_real: int, n_fake: int) -> dict[str, Any]:
    """The name of the metric, numbers of pictures, extractor and versions, for JSON.

    `n_below_dim`: one set has no more pictures than features, so its covariance is singular and
    the distance mostly bias. `provisional`: fewer than 10,000 pictures in one set.
    """
    fewest = min(n_real, n_fake)
    return {
        "metric": extractor.name,
        "n_real": n_real,
        "n_fake": n_fake,
        "n_below_dim": fewest <= extractor.dim,
        "provisional": fewest < PROVISIONAL,
        "extractor": extractor.describe(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of the packages that compute figures."""
    return {"dmtool": own_version(), "torch": torch.__version__, "numpy": np.__version__}


def title(metric: str, measure: str, n: int) -> str:
    """The name of a measure on the features of a Fréchet distance, with N.

    `measure` stands in place of FD or FID, and `{}` in it for that word: "FD-EffNetLite0@224" ->
    "KID-EffNetLite0@224[N=1000]", "FID[tf1]" -> "FID-infinity[tf1,N=1000]".
    """
    name = re.sub("FI?D", lambda word: measure.format(word.group()), metric, count=1)
    return f"{name[:-1]},N={n}]" if name.endswith("]") else f"{name}[N={n}]"


def warnings(figures: dict[str, Figures], wanted: Sequence[str], dim: int) -> list[str]:
    """What a reader of the figures must know, in sentences."""
    found = [line for name, each in figures.items() for line in _warnings(name, each, wanted, dim)]
    fewest = min(figures["all"]["n_fake"], figures["all"]["n_real"])
    if fewest < PROVISIONAL:
        found.append(f"provisional: {fewest:,} pictures are fewer than {PROVISIONAL:,}")
    return found


def _warnings(name: str, figures: Figures, wanted: Sequence[str], dim: int) -> list[str]:
    group, fewest = name.replace("_", " "), min(figures["n_fake"], figures["n_real"])
    found = []
    if "fd" in figures and fewest <= dim:
        found.append(
            f"{group}: {fewest:,} pictures are no more than the {dim:,} features: the distance is "
            "mostly bias and compares with those of the same N only"
        )
    if "floor" in figures and figures["floor"] is None:
        found.append(f"{group}: too few real pictures for a floor: twice {figures['n_fake']:,}")
    if "infinity" in figures and figures["infinity"]["sizes"][0] <= dim:
        found.append(f"{group}: the extrapolation begins at no more pictures than {dim:,} features")
    if few := too_few(figures, wanted):
        found.append(f"{group}: {fewest} pictures are too few for {', '.join(few)}")
    return found


def own_version() -> str:
    try:
        return version("dmtool")
    except PackageNotFoundError:
        return "not installed"
