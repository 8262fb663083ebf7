"""What a bottleneck's penalties weigh: by kind, each with its reduction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from dmtool.config.vae import AeVae, FsqVae, KlVae, SparseVae, VaeShape, VqVae

Penalties = Mapping[str, Tensor]
Terms = dict[str, tuple[Tensor, float]]
"""Scalars by name, and their weights."""


def _kl(config: KlVae, found: Penalties, values: int, seen: int) -> Terms:
    """Nats per picture value, so that the weight means the same at every size."""
    risen = min(1.0, seen / config.warmup) if config.warmup else 1.0
    return {"kl": (found["kl"] / values, config.beta * risen)}


def _sparse(config: SparseVae, found: Penalties, values: int, seen: int) -> Terms:
    """The mean of the code's values."""
    return {"l1": (found["l1"], config.l1)}


def _vq(config: VqVae, found: Penalties, values: int, seen: int) -> Terms:
    """The mean over the code's values."""
    return {"commitment": (found["commitment"], config.commitment)}


def _none(config: VaeShape, found: Penalties, values: int, seen: int) -> Terms:
    return {}


KINDS: dict[type[VaeShape], Callable[[Any, Penalties, int, int], Terms]] = {
    AeVae: _none,
    KlVae: _kl,
    SparseVae: _sparse,
    FsqVae: _none,
    VqVae: _vq,
}


def weighted(config: VaeShape, found: Penalties, values: int, seen: int) -> Terms:
    """The penalties of a micro-batch of pictures with so many `values` in all, whose step began at
    `seen` pictures."""
    return KINDS[type(config)](config, found, values, seen)
