"""Statistics of features in `.npz` files, in the formats of the field's libraries.

    mu [d], sigma [d, d]       TTUR, pytorch-fid, clean-fid, EDM; ADM beside mu_s, sigma_s
    feats [n, d]               clean-fid (for KID)
    arr_0 [n, H, W, 3] uint8   ADM: the pictures themselves

We write the first, and on request the second, with what the others leave out: `n`, and the
extractor (`name`, `mode`, `sha256`, and all of its description as JSON in `extractor`). A file that
says another extractor is refused, one that says none is taken on trust, and that is said.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from dmtool.config.validation import cut, short
from dmtool.errors import UserError
from dmtool.files import atomic, reading
from dmtool.files.digests import file_digest
from dmtool.measure.distances.frechet import Moments
from dmtool.measure.features import arrays as arrays_of
from dmtool.measure.features import feature_set, sets
from dmtool.measure.features.arrays import Arrays
from dmtool.measure.features.feature_set import FeatureSet
from dmtool.measure.features.features import FeatureExtractor

NAMES = {"mu", "sigma", "feats", "arr_0", "n", "extractor"}
MOST_TEXT = 2**22
"""Bytes of a text among the arrays."""
UNKNOWN = 2
"""Stands for the number of pictures where a file does not say it: the covariance is then right."""


class Described(TypedDict):
    """What a file says of its extractor, as far as it is compared."""

    name: str
    sha256: str
    protocol: dict[str, Any]


def write(
    path: Path, found: FeatureSet, moments: Moments, extractor: FeatureExtractor, rows: bool
) -> None:
    """Write the moments of `found` with their extractor, and its rows, too, if wanted.

    The file appears whole or not at all.
    """
    about = extractor.describe()
    content: dict[str, Any] = {
        "mu": moments.mean,
        "sigma": moments.covariance,
        "n": np.int64(moments.n),
        "name": about["name"],
        "mode": about["protocol"].get("mode", ""),
        "sha256": about["sha256"],
        "extractor": json.dumps(about),
        "files": found.facts.get("files", ""),
    }
    if rows:
        content["feats"] = found.rows
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, buffer.getvalue(), f".{path.name}.part")


def read(path: Path, extractor: FeatureExtractor, batch_size: int) -> FeatureSet:
    """What a file of statistics, of features or of images says, as features of `extractor`.

    Raises UserError if it cannot be read, holds Python objects (a pickle), or was made with another
    extractor.
    """
    arrays, held = arrays_of.read(path, NAMES)
    if not {"mu", "sigma"} <= arrays.keys() and not {"feats", "arr_0"} & arrays.keys():
        raise UserError(f"{path} holds {held}: it needs mu and sigma, or feats, or arr_0 (images)")
    if "arr_0" in arrays and "mu" not in arrays:
        images = sets.Images(path, _images(path, arrays["arr_0"]), file_digest(path))
        return feature_set.of(images, extractor, batch_size)
    notes = _trust(path, arrays, extractor)
    facts = {"place": str(path), "files": _text(path, arrays, "files")}
    if "feats" in arrays:
        feats = _finite(path, "feats", arrays["feats"])
        if feats.ndim != 2 or len(feats) < 2:
            raise UserError(f"feats in {path} is {list(feats.shape)}: [n, d], n at least 2")
        _fits(path, feats.shape[1], extractor)
        rows = torch.from_numpy(feats.astype(np.float32))
        return FeatureSet(len(rows), [rows], facts=facts, notes=notes)
    return FeatureSet(*_moments(path, arrays, extractor, notes), facts=facts, notes=notes)


def _images(path: Path, images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) < 2:
        raise UserError(
            f"arr_0 in {path} is {images.dtype} {list(images.shape)}: images are uint8 "
            "[N, H, W, 3], at least two"
        )
    return images


def _trust(path: Path, arrays: Arrays, extractor: FeatureExtractor) -> list[str]:
    """The note on a file that says nothing of its extractor; UserError if it says another."""
    if "extractor" not in arrays:
        return [
            f"{path} does not say which network and mode it was made with: it is taken on trust "
            f"for {extractor.name}"
        ]
    place, ours = f"extractor in {path}", extractor.describe()
    theirs = reading.parsed(_text(path, arrays, "extractor"), place)
    reading.checked(theirs, Described, place)
    for key in ("name", "sha256", "protocol"):
        if theirs[key] != ours[key]:
            raise UserError(
                f"{path} was made with another extractor: its {key} is {cut(theirs[key])}, this "
                f"one's is {cut(ours[key])}"
            )
    return []


def _text(path: Path, arrays: Arrays, name: str) -> str:
    """A text that stands among the arrays, "" if it does not."""
    found = arrays.get(name, np.array(""))
    if found.dtype.kind != "U" or found.ndim or found.nbytes > MOST_TEXT:
        raise UserError(f"{name} in {path} is no text")
    try:
        return str(found)
    except ValueError as error:  # beyond Unicode
        raise UserError(f"{name} in {path} is no text: {error}") from error


def _moments(
    path: Path, arrays: Arrays, extractor: FeatureExtractor, notes: list[str]
) -> tuple[int | None, None, Moments]:
    mean, covariance = arrays["mu"], arrays["sigma"]
    _fits(path, mean.size, extractor)
    if mean.ndim != 1 or covariance.shape != (mean.size, mean.size):
        raise UserError(f"{path}: sigma {covariance.shape} is no covariance of mu {mean.shape}")
    mean, covariance = _finite(path, "mu", mean), _finite(path, "sigma", covariance)
    if not np.allclose(covariance, covariance.T, rtol=1e-3, atol=1e-6 * np.abs(covariance).max()):
        raise UserError(f"{path}: sigma is no covariance: it is not symmetric")
    n = _count(path, arrays["n"]) if "n" in arrays else None
    if n is None:
        notes.append(f"{path} does not say of how many pictures it was made")
    count = n or UNKNOWN
    return n, None, Moments(count, mean, covariance * (count - 1))


def _count(path: Path, found: NDArray[Any]) -> int:
    if found.ndim or found.dtype.kind not in "iu" or found < 2:
        raise UserError(f"n in {path} is {short(found)}: a number of pictures, at least 2")
    return int(found)


def _finite(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
        raise UserError(f"{name} in {path} has values that are not finite numbers")
    return values.astype(np.float64)


def _fits(path: Path, dim: int, extractor: FeatureExtractor) -> None:
    if dim != extractor.dim:
        raise UserError(
            f"{path} has {dim} features, {extractor.name} has {extractor.dim}: it was made with "
            "another network"
        )
