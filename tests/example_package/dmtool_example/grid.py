"""An extractor: the mean colours of a grid of cells, without any weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from dmtool.config.base import Count, Schema
from dmtool.config.kinds import Plugin
from dmtool.measure.features.extractors import build
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.features.preparation import Preparation, same


@dataclass(frozen=True, kw_only=True)
class Grid(Schema):
    """`cells` by `cells` of a picture."""

    kind: Literal["dmtool-example:grid"]
    cells: Count


def grid(config: Grid, device: torch.device) -> FeatureExtractor:
    """FD-grid of that many cells."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(config.cells), nn.Flatten())
    prepare = Preparation(8 * config.cells, "bilinear", same(0), same(255))
    name, sha256 = f"FD-grid-{config.cells}", hashlib.sha256(b"no weights").hexdigest()
    return build.extractor(
        config.kind, name, sha256, prepare, network, device, layer="means of the cells"
    )


GRID = Plugin(Grid, grid)
