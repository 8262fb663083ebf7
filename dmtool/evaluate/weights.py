"""Where the weights of the known extractors come from, and the proof that they are those."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dmtool import cache
from dmtool.errors import UserError

PATIENCE = 20  # seconds that a server may keep silent


@dataclass(frozen=True)
class Weights:
    """A file of weights as it was published."""

    file: str
    url: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.file} ({self.size:,} bytes, sha256 {self.sha256})"


FID_INCEPTION = Weights(
    file="pt_inception-2015-12-05-6726825d.pth",
    url=(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth"
    ),
    size=95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)


def find(weights: Weights, path: str | None) -> Path:
    """The file of `weights`: at `path` if given, else in a cache, else downloaded to the cache.

    The caches are torch.hub's `checkpoints` (`$TORCH_HOME`) and dmtool's own. Raises UserError if
    the file is not there or not byte for byte the published one; nothing else is ever taken in
    its place.
    """
    if path is not None:
        return verified(Path(path).expanduser(), weights.sha256)
    own = cache.root() / "weights" / weights.file
    for place in (Path(torch.hub.get_dir()) / "checkpoints" / weights.file, own):
        if place.is_file():
            return verified(place, weights.sha256)
    _download(weights, own)
    return verified(own, weights.sha256)


def verified(path: Path, sha256: str) -> Path:
    """`path`, if it is a file with that sha256; UserError otherwise."""
    if not path.is_file():
        raise UserError(f"there is no file of weights at {path}")
    found = cache.file_digest(path)
    if found != sha256:
        raise UserError(
            f"{path} ({path.stat().st_size:,} bytes) has sha256 {found}, not {sha256}: "
            "it is damaged or another network's; remove it or give the right file"
        )
    return path


def read(path: Path) -> dict[str, Any]:
    """A state dict from a file of tensors alone: loading it cannot run code."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _download(weights: Weights, target: Path) -> None:
    """Fetch to a temporary file that gets its name only when its sha256 is right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _patience():
            torch.hub.download_url_to_file(weights.url, str(target), weights.sha256)
    except (OSError, RuntimeError) as error:  # no network, a refusal, or other bytes
        raise UserError(
            f"the weights {weights} are not on this machine and {weights.url} gave none "
            f"({error}); download them elsewhere to {target} or name their place with "
            "extractor.weights=PATH"
        ) from error


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
