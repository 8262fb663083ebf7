"""What must stand beside every figure, so that it can be judged and made again.

The JSON of a result, of a run and of two folders alike:

    metric      the Fréchet distance's name, e.g. "FD-EffNetLite0@224", which names the features
    n_real, n_fake, n_below_dim, provisional   of the group "all"
    extractor   the network and how pictures reach it, with the sha256 of its weights
    figures     {group: {name: value}}, "all" first; what a measure gives (see `measures`): fd,
                mean_term, cov_term; floor {true_pictures {fd}, disjoint_sample {fd, ...} or null};
                spread; kid, kid_subsets {mean, std}; n_real_drawn where all pairs are of fewer;
                precision, recall, density, coverage; r@1, r@10, ceiling {r@1, r@10}; mind; cmmd;
                infinity {distance, slope, r2, sizes}; inception_score {mean, std}; n_fake, n_real
                of whether captions are shown: clip {cosine, ...}, composition {whole, ...}, tasks
    protocol    how it was measured: results compare if this, metric and extractor are the same
    settings    of a run: how its pictures were made (checkpoint, ema, sampler, guidance, ...);
                network_took_part: whether the metric's network took part in its training
    warnings    sentences that belong beside the figures
    examples    single pictures that are listed, as the worst: like the figures, the model's
    versions    of the packages that computed it
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from dmtool.chain.pipeline import Pipeline
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.measures import Figures, fewest, protocols, too_few

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


def record(extractor: FeatureExtractor, n_real: int | None, n_fake: int | None) -> dict[str, Any]:
    """The name of the metric, numbers of pictures, extractor and versions, for JSON.

    `n_below_dim`: one set has no more pictures than features, so its covariance is singular and
    the distance mostly bias. `provisional`: fewer than 10,000 pictures in one set. A number that
    statistics do not say is null; without any so are these two.
    """
    n = fewest({"n_real": n_real, "n_fake": n_fake})
    return {
        "metric": extractor.name,
        "n_real": n_real,
        "n_fake": n_fake,
        "n_below_dim": None if n is None else n <= extractor.dim,
        "provisional": None if n is None else n < PROVISIONAL,
        "extractor": extractor.describe(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of the packages that compute figures."""
    return {"dmtool": own_version(), "torch": torch.__version__, "numpy": np.__version__}


def own_version() -> str:
    """dmtool's, or that it is not installed."""
    try:
        return version("dmtool")
    except PackageNotFoundError:
        return "not installed"


def title(metric: str, measure: str, n: int | None) -> str:
    """The name of a measure on the features of a Fréchet distance, with N.

    `measure` stands in place of FD or FID, and `{}` in it for that word: "FD-EffNetLite0@224" ->
    "KID-EffNetLite0@224[N=1000]", "FID[tf1]" -> "FID-infinity[tf1,N=1000]".
    """
    name = re.sub("FI?D", lambda word: measure.format(word.group()), metric, count=1)
    count = "?" if n is None else n
    return f"{name[:-1]},N={count}]" if name.endswith("]") else f"{name}[N={count}]"


def warnings(figures: dict[str, Figures], wanted: Sequence[str], dim: int) -> list[str]:
    """What a reader of the figures must know, in sentences."""
    found = [line for name, each in figures.items() for line in _warnings(name, each, wanted, dim)]
    return [*found, *_provisional(fewest(figures["all"]))]


def shared_networks(networks: Mapping[str, str], card: Mapping[str, Any]) -> list[str]:
    """A warning for each of a metric's networks, {name: sha256}, that took part in the training of
    the model with this card, which it measures."""
    taught = (card.get("text") or {}).get("sha256")
    return [
        f"{name} is of the network that the model's text encoder is part of: it measures what it "
        "has taught, and flatters"
        for name, sha256 in networks.items()
        if sha256 == taught
    ]


def settings(chain: Pipeline, shared: Sequence[str]) -> dict[str, Any]:
    """How a chain's pictures are made, and whether networks that judge them took part."""
    return chain.settings() | {"ema": chain.card["ema"], "network_took_part": bool(shared)}


def paired_warnings(n: int, dim: int) -> list[str]:
    """The same of the distance between `n` pictures and what became of each of them."""
    below = (
        f"{n:,} pictures are no more than the {dim:,} features: distances compare at equal N only"
    )
    return [*([below] if n <= dim else []), *_provisional(n)]


def _provisional(n: int | None) -> list[str]:
    few = n is not None and n < PROVISIONAL
    return [f"provisional: {n:,} pictures are fewer than {PROVISIONAL:,}"] if few else []


def _warnings(name: str, figures: Figures, wanted: Sequence[str], dim: int) -> list[str]:
    group, n = name.replace("_", " "), fewest(figures)
    found = []
    if "fd" in figures and n is not None and n <= dim:
        found.append(
            f"{group}: {n:,} pictures are no more than the {dim:,} features: the distance is "
            "mostly bias and compares with those of the same N only"
        )
    if "floor" in figures and figures["floor"]["disjoint_sample"] is None:
        found.append(
            f"{group}: too few real pictures for a disjoint sample: twice {figures['n_fake']:,}"
        )
    if "infinity" in figures and figures["infinity"]["sizes"][0] <= dim:
        found.append(f"{group}: the extrapolation begins at no more pictures than {dim:,} features")
    if few := too_few(figures, wanted):
        found.append(f"{group}: {n} pictures are too few for {', '.join(few)}")
    return found
