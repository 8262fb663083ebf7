"""Training's view of a set of pictures: cropped, flipped, uint8, addressed by global number."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset, Image
from torch import Tensor

from dmtool.config.parts import DataBase
from dmtool.data import transforms
from dmtool.rng import generator


class Pictures(torch.utils.data.Dataset[dict[str, Any]]):
    """Pictures of a split, resized once and remembered, then cropped and flipped anew each time.

    The index is a pair `(k, row)`: `k` is the example's number in the whole run, `row` the
    picture's in `dataset`. The crop and the flip are drawn from (seed, k) alone, so a resumed run
    and a run on another number of processes see the same pictures.

    What can be seen of a resized picture is remembered as uint8 until `config.memory_mb` are full
    (in each worker process on its own): its middle square, or all of it where crops are random. Of
    a picture that is very long (`transforms.is_long`) the square alone is resized, and where crops
    are random none is remembered.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: DataBase,
        resolution: int,
        seed: int,
        crop_size: int | None = None,
    ) -> None:
        """`resolution` is the size of the square that `config.crop` chooses, in pixels.

        With a `crop_size` below it, a smaller square at a random place within that one is taken.
        """
        self.files = dataset.select_columns("image").cast_column("image", Image(decode=False))
        self.config = config
        self.resolution = resolution
        self.size = crop_size or resolution
        self.seed = seed
        self.remembered: dict[int, Tensor] = {}
        self.room = config.memory_mb * 2**20
        if self.size > resolution:
            raise ValueError(f"crop_size={crop_size} is more than resolution={resolution}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        """`{"image": uint8 (3, size, size), "row": int, "k": int}`; do not write to the image."""
        k, row = index
        return {"image": self._vary(row, k), "row": row, "k": k}

    def _square(self, row: int, down: float, right: float) -> Tensor:
        """A square of the picture, uint8 (3, resolution, resolution), of its shorter side."""
        if row in self.remembered:
            return _square(self.remembered[row], self.resolution, down, right)
        data, config = self.files[row]["image"]["bytes"], self.config
        image = transforms.decode(data, self.resolution, config.background, config.profiles)
        if config.crop == "center" or transforms.is_long(image.size):
            seen = transforms.to_pixels(transforms.square(image, self.resolution, down, right))
            return self._remember(row, seen) if config.crop == "center" else seen
        whole = transforms.to_pixels(transforms.resize(image, self.resolution))
        return _square(self._remember(row, whole), self.resolution, down, right)

    def _remember(self, row: int, pixels: Tensor) -> Tensor:
        if pixels.nbytes <= self.room:
            self.room -= pixels.nbytes
            self.remembered[row] = pixels
        return pixels

    def _vary(self, row: int, k: int) -> Tensor:
        """The crop and the flip of example `k`."""
        if self.config.crop == "center" and not self.config.flip and self.size == self.resolution:
            return self._square(row, 0.5, 0.5)
        draws = torch.rand(5, generator=generator(self.seed, "crop", k), dtype=torch.float64)
        top, left, inner_top, inner_left, flip = draws.tolist()
        if self.config.crop == "center":
            top = left = 0.5
        pixels = _square(self._square(row, top, left), self.size, inner_top, inner_left)
        return pixels.flip(-1) if self.config.flip and flip < 0.5 else pixels


def _square(pixels: Tensor, size: int, down: float, right: float) -> Tensor:
    """The square whose place is given as shares, in [0, 1), of the room there is."""
    height, width = pixels.shape[-2:]
    top, left = transforms.place(height, size, down), transforms.place(width, size, right)
    return transforms.crop(pixels, size, top, left)
