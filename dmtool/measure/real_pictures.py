"""The real pictures that a stage is measured on: those of the data that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dmtool import runs
from dmtool.chain.pipeline import Pipeline
from dmtool.config.parts import Data, DataPlace
from dmtool.config.stages import TrainUnet
from dmtool.config.using import FromUse, HasData
from dmtool.config.validation import check
from dmtool.data import source
from dmtool.data.batches import batches, evenly, take
from dmtool.data.pictures import Pictures
from dmtool.data.source import Source, Split
from dmtool.errors import UserError
from dmtool.files import shards
from dmtool.files.digests import digest
from dmtool.measure.features import features
from dmtool.measure.features.features import FeatureExtractor
from dmtool.runs import saved
from dmtool.say import counted


@dataclass(frozen=True)
class RealPictures:
    """All pictures of a set at one size, with their captions ("" for none) and splits, by row."""

    pictures: Pictures
    keys: list[str]
    captions: list[str]
    splits: NDArray[np.str_]
    fingerprint: str
    colours: dict[str, str] = field(default_factory=dict)

    def rows(self, count: int | None, *splits: Split) -> list[int]:
        """`count` evenly spread rows of some splits, or all; UserError if there are not two."""
        rows = self.of(*splits)
        if len(rows) < 2:
            raise UserError(
                f"the split {' + '.join(splits)} has {counted(len(rows), 'picture')}: at least 2 "
                "are needed"
            )
        return evenly(rows, count or len(rows))

    def of(self, *splits: Split) -> list[int]:
        """All rows of some splits."""
        rows: list[int] = np.flatnonzero(np.isin(self.splits, splits)).tolist()
        return rows

    def take(self, rows: Sequence[int]) -> Tensor:
        """The pictures of some rows, uint8 [B, 3, H, W]."""
        return take(self.pictures, rows)

    def batches(
        self, rows: Sequence[int], size: int, silent: bool | None
    ) -> Iterator[tuple[list[int], Tensor]]:
        """(rows, uint8 [B, 3, H, W]) of `size` rows at once, with a progress bar."""
        with tqdm(total=len(rows), desc="measuring", unit="pictures", disable=silent) as bar:
            for part, pictures in batches(self.pictures, rows, size):
                yield part, pictures
                bar.update(len(part))

    def features(self, extractor: FeatureExtractor, batch_size: int) -> NDArray[np.float32]:
        """Features [M, d] of all pictures, extracted once, by all processes together, and kept."""

        def encode(rows: range) -> dict[str, Tensor]:
            images = (self.pictures[row, row]["image"] for row in rows)
            return {"features": torch.from_numpy(features.extract(extractor, images, batch_size))}

        key = {**self.describe(), "extractor": extractor.describe()}
        size = 4 * extractor.dim
        found = shards.filled("features", key, len(self.pictures), size, encode)
        return cast(NDArray[np.float32], torch.cat(found.column("features")).numpy())

    def describe(self, rows: Sequence[int] | None = None) -> dict[str, Any]:
        """What pictures these are, for JSON: all of them, or some, by the sha256 of their keys."""
        config = self.pictures.config
        how = {name: getattr(config, name) for name in ("crop", "flip")}
        how |= {"background": list(config.background), "resolution": self.pictures.resolution}
        how |= self.colours
        if rows is not None:
            how["files"] = digest([self.keys[row] for row in rows])
        return {"data": self.fingerprint, **how}


class Chained(Protocol):
    """The config of a command that measures a chain of a run on the run's pictures."""

    @property
    def run(self) -> str: ...

    @property
    def root(self) -> str: ...

    @property
    def from_(self) -> FromUse: ...

    @property
    def data(self) -> DataPlace: ...


def of_run(card: dict[str, Any], stage: Path, place: DataPlace, resolution: int) -> RealPictures:
    """The pictures that the stage with this card, in the directory `stage`, was trained on.

    UserError as `data.source.again`.
    """
    config = check({"data": saved.read(stage)["data"]}, HasData).data
    return of_source(source.again(config, card["data"], place.path), config, resolution)


def of_chain(chain: Pipeline, config: Chained) -> RealPictures:
    """The pictures that a chain's noise predictor was trained on, at the size that it makes."""
    size = chain.card["resolution"] * (chain.upsampler.factor if chain.upsampler else 1)
    stage = runs.run_dir(config.from_.unet or config.run, config.root) / TrainUnet.stage
    return of_run(chain.card, stage, config.data, size)


def of_data(config: Data, resolution: int) -> RealPictures:
    """The pictures that a config names, at one size."""
    return of_source(source.load(config), config, resolution)


def of_source(loaded: Source, config: Data, resolution: int) -> RealPictures:
    """The pictures of a source at one size, as they are measured: not mirrored, centre crops."""
    still = replace(config, flip=False, crop="center")
    return RealPictures(
        pictures=Pictures(loaded.dataset, still, resolution, seed=0),
        keys=_column(loaded.dataset, "key"),
        captions=[several[0] if several else "" for several in _column(loaded.dataset, "caption")],
        splits=np.array(source.by_row(loaded, config)),
        fingerprint=loaded.fingerprint,
        colours=loaded.colours(config),
    )


def _column(dataset: Dataset, name: str) -> list[Any]:
    values: list[Any] = dataset.select_columns(name).with_format("arrow")[:][name].to_pylist()
    return values
