"""The Fréchet distance between two folders of pictures, with no run and no captions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

from dmtool.data.folder import PICTURES
from dmtool.data.transforms import open_picture, to_pixels, to_rgb
from dmtool.errors import UserError
from dmtool.evaluate.features import FeatureExtractor
from dmtool.evaluate.frechet import Moments, frechet_distance
from dmtool.evaluate.record import record
from dmtool.processes import ALONE, Group

WHITE = (255, 255, 255)
MAX_PIXELS = 2**28
SHOWN = 5  # unreadable files named in the message


def compare_folders(
    real: Path, fake: Path, extractor: FeatureExtractor, batch_size: int, group: Group = ALONE
) -> dict[str, Any]:
    """The distance between all pictures below two folders, as a record for JSON.

    Each picture goes from its native size straight into the extractor's own resize, RGB over
    white, in one process of the group. Raises UserError if a folder is missing, has fewer than two
    pictures, or has one that cannot be read: leaving it out would change the figure.
    """
    files = [_pictures(folder) for folder in (real, fake)]
    parts = [
        group.gather(_part(folder, group.share(each), extractor, batch_size, group.silent))
        for folder, each in zip((real, fake), files, strict=True)
    ]

    def compare() -> dict[str, Any]:
        moments = [_whole(*each) for each in zip((real, fake), files, parts, strict=True)]
        found = frechet_distance(*moments)
        return record(extractor, moments[0].n, moments[1].n) | {
            "value": found.distance,
            "mean_term": found.mean_term,
            "cov_term": found.cov_term,
            "real": str(real),
            "fake": str(fake),
        }

    return group.on_main(compare)


def _pictures(folder: Path) -> list[Path]:
    """All picture files below `folder`, in order; hidden ones and other kinds are left aside."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of pictures")
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURES]
    files = [path for path in files if _visible(path.relative_to(folder)) and path.is_file()]
    if len(files) < 2:
        raise UserError(f"{folder} has {len(files)} pictures: a distance needs at least 2")
    return files


def _visible(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


Part = tuple[Moments, list[str]]
"""What is found of some pictures: their features' moments, and those that cannot be read."""


def _part(
    folder: Path,
    files: Sequence[Path],
    extractor: FeatureExtractor,
    batch_size: int,
    silent: bool | None,
) -> Part:
    moments = Moments.empty(extractor.dim)
    bad: list[str] = []
    bar = tqdm(files, desc=f"features of {folder.name}", unit="pictures", disable=silent)
    inputs = _inputs(folder, bar, extractor, bad)
    while batch := list(islice(inputs, batch_size)):
        moments.update(extractor.features(torch.cat(batch)).cpu())
    return moments, bad


def _whole(folder: Path, files: list[Path], parts: list[Part]) -> Moments:
    """All parts together; UserError if one has a picture that cannot be read."""
    moments = Moments.empty(len(parts[0][0].mean))
    for part, _ in parts:
        moments.merge(part)
    bad = sorted(name for _, names in parts for name in names)
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UserError(
            f"{len(bad)} of {len(files)} pictures in {folder} cannot be read: "
            f"{', '.join(bad[:SHOWN])}{more}; mend or remove them"
        )
    return moments


def _inputs(
    folder: Path, files: Iterable[Path], extractor: FeatureExtractor, bad: list[str]
) -> Iterator[Tensor]:
    """The network's input [1, 3, S, S] for each picture, up to the first one that is bad."""
    for path in files:
        try:
            image = to_rgb(open_picture(path.read_bytes(), MAX_PIXELS), WHITE)
        except Exception as error:  # decoders raise anything: all bad files are named together
            bad.append(f"{path.relative_to(folder)} ({_reason(error)})")
        else:
            if not bad:
                yield extractor.inputs(to_pixels(image)[None])


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that can be decoded"
    return str(error) or type(error).__name__
