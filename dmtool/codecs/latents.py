"""The whitened latents of an autoencoder, which has measured itself what whitens them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dmtool.codecs.space import Continuous
from dmtool.nn.autoencoder import KINDS, Autoencoder
from dmtool.runs import Artifact, fitting


class Latents:
    """An autoencoder's code, whitened per channel by what its run measured; see
    `codec.Codec`."""

    def __init__(self, network: Autoencoder, card: dict[str, Any], device: torch.device) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.space_id: str = card["space_id"]
        whitening = card["latent"]["whitening"]
        self.mean, self.std = (_channels(whitening[key], device) for key in ("mean", "std"))
        bits = self.std.cpu().double().log2().mean().item()
        self.space = Continuous(card["latent"]["channels"], card["factor"], whitening_bits=bits)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        return (self.network.encode(pictures).float() - self.mean) / self.std

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        return self.network.decode(codes * self.std + self.mean).float()


def _channels(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None]


def load(artifact: Artifact, device: torch.device) -> Latents:
    """The codec of an autoencoder's artifact."""
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
