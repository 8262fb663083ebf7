"""Where the weights of the known extractors come from, and the proof that they are those."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch

from dmtool.errors import UserError
from dmtool.files import cache
from dmtool.files.digests import file_digest

PATIENCE = 20  # seconds that a server may keep silent


@dataclass(frozen=True)
class Weights:
    """A file of weights as it was published; `script` says that it is a TorchScript.

    `elsewhere`: where other libraries keep the same bytes, below torch.hub's directory or the
    system's temporary one.
    """

    file: str
    url: str
    size: int
    sha256: str
    script: bool = False
    elsewhere: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.file} ({self.size:,} bytes, sha256 {self.sha256})"

    @property
    def own(self) -> Path:
        """Its place in dmtool's cache."""
        return cache.root() / "weights" / self.file

    def places(self) -> Iterator[Path]:
        """Where it may lie."""
        hub = Path(torch.hub.get_dir())
        yield from (hub / "checkpoints" / self.file, self.own)
        yield from (root / name for root in (hub, Path(gettempdir())) for name in self.elsewhere)


FID_INCEPTION_STATE = Weights(
    file="pt_inception-2015-12-05-6726825d.pth",
    url=(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth"
    ),
    size=95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    elsewhere=("checkpoints/weights-inception-2015-12-05-6726825d.pth",),
)
"""pytorch-fid's and torch-fidelity's: a state dict."""

FID_INCEPTION_SCRIPT = Weights(
    file="inception-2015-12-05.pt",
    url=(
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
        "inception-2015-12-05.pt"
    ),
    size=95_607_719,
    sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    script=True,
    elsewhere=("inception-2015-12-05.pt",),
)
"""StyleGAN's and clean-fid's: a TorchScript, the same network converted anew."""


def find(files: Sequence[Weights], path: str | None, key: str) -> tuple[Path, Weights]:
    """One of `files`: the one at `path` if given, else from a cache, else the first, downloaded.

    The caches are dmtool's own and those of the libraries that use these files; `key` is the
    setting that gives `path`. Raises UserError
    if none is there, or one is not byte for byte the published one; nothing else is ever taken in
    its place.
    """
    by_sha = {weights.sha256: weights for weights in files}
    if path is not None:
        return _given(Path(path).expanduser(), by_sha)
    for weights in files:
        for place in weights.places():
            if place.is_file():
                return verified(place, [weights.sha256]), weights
    _download(files[0], key)
    return verified(files[0].own, [files[0].sha256]), files[0]


def _given(path: Path, by_sha: dict[str, Weights]) -> tuple[Path, Weights]:
    if not path.is_file():
        names = " or ".join(map(str, by_sha.values()))
        raise UserError(f"there is no file of weights at {path}: it should be {names}")
    verified(path, list(by_sha))
    return path, by_sha[file_digest(path)]


def verified(path: Path, sha256s: Sequence[str]) -> Path:
    """`path`, if it is a file with one of these sha256; UserError otherwise."""
    if not path.is_file():
        raise UserError(f"there is no file of weights at {path}")
    found = file_digest(path)
    if found not in sha256s:
        raise UserError(
            f"{path} ({path.stat().st_size:,} bytes) has sha256 {found}, not "
            f"{' or '.join(sha256s)}: it is damaged or another network's; remove it or give the "
            "right file"
        )
    return path


def read(path: Path) -> dict[str, Any]:
    """A state dict from a file of tensors alone: loading it cannot run code."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _download(weights: Weights, key: str) -> None:
    """Fetch to a temporary file that gets its name only when its sha256 is right."""
    target = weights.own
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _patience():
            torch.hub.download_url_to_file(weights.url, str(target), weights.sha256)
    except (OSError, RuntimeError) as error:  # no network, a refusal, or other bytes
        raise UserError(
            f"the weights {weights} are not on this machine and {weights.url} gave none "
            f"({error}); download them elsewhere to {target} or name their place with {key}=PATH"
        ) from error


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
