"""The space that the noise predictor works in: an autoencoder's whitened latents, or pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from dmtool.device import autocast
from dmtool.files.shards import Shards, Tensors, compact, filled
from dmtool.nn.autoencoder import KINDS, Autoencoder
from dmtool.runs import Artifact, fitting

FORMAT = 2
PIXELS = 2**20
"""Pixels encoded at once."""
BINS = 2 / 255
"""The distance between the values of a picture of 8 bits in [-1, 1]."""


class Codec(Protocol):
    """Pictures [B, 3, H, W] in [-1, 1] <-> whitened latents [B, channels, H / f, W / f].

    `bins` is the distance between the values that a latent can have, None if they are continuous;
    `whitening_bits` what whitening takes from the log2 of a value's density, mean over channels.
    """

    channels: int
    factor: int
    space_id: str
    bins: float | None
    whitening_bits: float

    def encode(self, pictures: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


class Pixels:
    """The identity: the noise predictor paints pixels itself, as Imagen's does."""

    channels, factor, space_id = 3, 1, "pixels"
    bins: float | None = BINS
    whitening_bits = 0.0

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, latents: Tensor) -> Tensor:
        return latents


class Latents:
    """An autoencoder's posterior mean, whitened per channel by what its run measured."""

    bins: float | None = None

    def __init__(self, network: Autoencoder, card: dict[str, Any], device: torch.device) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.channels, self.factor = card["latent"]["channels"], card["factor"]
        self.space_id: str = card["space_id"]
        whitening = card["latent"]["whitening"]
        self.mean, self.std = (_channels(whitening[key], device) for key in ("mean", "std"))
        self.whitening_bits = self.std.cpu().double().log2().mean().item()

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        return (self.network.encode(pictures).float() - self.mean) / self.std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return self.network.decode(latents * self.std + self.mean).float()


def _channels(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None]


def load(artifact: Artifact | None, device: torch.device) -> Codec:
    """The codec of an autoencoder's artifact; pixels for None."""
    if artifact is None:
        return Pixels()
    card = artifact.card
    network = fitting.loaded(artifact, lambda: KINDS[card["kind"]](**card["network"]))
    return Latents(network, card, device)


def whitening(network: Autoencoder, batches: Iterable[Tensor]) -> dict[str, list[float]]:
    """Mean and standard deviation of each latent channel over batches of pictures."""
    count, total, squares = 0, torch.zeros(1), torch.zeros(1)
    for pictures in batches:
        z = network.encode(pictures).cpu().double().transpose(0, 1).flatten(1)
        count, total, squares = count + z.shape[1], total + z.sum(1), squares + (z**2).sum(1)
    mean = total / count
    std = (squares / count - mean**2).clamp(min=1e-12).sqrt()
    return {"mean": mean.tolist(), "std": std.tolist()}


class Cached:
    """Row r is the latent [C, h, w] (float32) of picture r, read from the cache."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    def __getitem__(self, row: int) -> Tensor:
        shard, within = self.shards.place(row)
        return shard["latents"][within].float()


def cached(
    codec: Codec,
    pictures: Callable[[range], Tensor],
    count: int,
    pixels: int,
    key: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype,
) -> Cached:
    """The latents of `count` pictures, encoded once by all processes together, kept as float16.

    `pictures` gives those of some rows, [B, 3, H, W] in [-1, 1], of H W `pixels`. `key` names what
    they depend on (fingerprint, split, transform); the codec and the computing dtype are added
    here.
    """
    # not the training's batch size, for that would change the last digits
    size = max(1, PIXELS // pixels)

    def encode(rows: range) -> Tensors:
        batches = (pictures(rows[i : i + size]).to(device) for i in range(0, len(rows), size))
        return {"latents": compact(torch.cat([encoded(batch).cpu() for batch in batches]))}

    def encoded(batch: Tensor) -> Tensor:
        with autocast(device, dtype):
            return codec.encode(batch)

    computing = str(dtype).removeprefix("torch.")
    key = {"format": FORMAT, **key, "space": codec.space_id, "dtype": computing}
    row_bytes = 2 * codec.channels * pixels // codec.factor**2
    return Cached(filled("latents", key, count, row_bytes, encode))
