"""What must stand beside every distance, so that it can be judged and made again."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from dmtool.evaluate.features import FeatureExtractor

PROVISIONAL = 10_000  # pictures below which the field calls a distance provisional


def record(extractor: FeatureExtractor, n_real: int, n_fake: int) -> dict[str, Any]:
    """The name of the metric, numbers of pictures, warnings, extractor and versions, for JSON.

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
    return {"dmtool": _own_version(), "torch": torch.__version__}


def _own_version() -> str:
    try:
        return version("dmtool")
    except PackageNotFoundError:
        return "not installed"
