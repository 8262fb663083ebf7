"""The real pictures that others are compared with, and which captions are measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from dmtool import shards
from dmtool.data import source
from dmtool.data.pictures import Pictures
from dmtool.data.source import Source, Split
from dmtool.errors import UserError
from dmtool.evaluate import features
from dmtool.evaluate.features import FeatureExtractor
from dmtool.schemas import Data

Features = np.ndarray[Any, Any]


def still(dataset: Dataset, data: Data, resolution: int) -> Pictures:
    """The pictures of a set as they are measured: never mirrored, cropped at the centre."""
    return Pictures(dataset, replace(data, flip=False, crop="center"), resolution, seed=0)


def of_all(
    loaded: Source, data: Data, resolution: int, extractor: FeatureExtractor, batch_size: int
) -> Features:
    """Features [M, d] of all pictures, extracted once, by all processes together, and kept."""
    pictures = still(loaded.dataset, data, resolution)
    key = {
        "data": loaded.fingerprint,
        "resolution": resolution,
        "background": list(data.background),
        "extractor": extractor.describe(),
    }

    def encode(rows: range) -> dict[str, Tensor]:
        images = (pictures[row, row]["image"] for row in rows)
        return {"features": torch.from_numpy(features.extract(extractor, images, batch_size))}

    filled = shards.filled("features", key, len(pictures), encode)
    return torch.cat(filled.column("features")).numpy()


def rows(loaded: Source, data: Data, split: Split, count: int | None) -> list[int]:
    """`count` evenly spread pictures of the split (null: all), as rows of the whole set."""
    keys = enumerate(loaded.dataset["key"])
    found = [row for row, key in keys if source.split_of(key, data) == split]
    if len(found) < 2:
        raise UserError(f"the split {split!r} has {len(found)} pictures: at least 2 are needed")
    count = min(count or len(found), len(found))
    return [found[i * len(found) // count] for i in range(count)]


def captions(loaded: Source) -> list[str]:
    """One caption for each picture of the set, its first; "" where there is none."""
    return [row[0] if row else "" for row in loaded.dataset["caption"]]
