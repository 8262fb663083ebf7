"""A frozen text encoder that is away from the device while others train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmtool.cond import Cond
from dmtool.text.cache import States, cached_states
from dmtool.text.encoder import Encoded, TextEncoder, batched, checked
from dmtool.text.frozen import FrozenEncoder


def away(encoder: TextEncoder, *sets: Sequence[str]) -> TextEncoder:
    """The same encoder for a training that will ask for captions of these sets; one that is learned
    stays as it is."""
    return CachedEncoder(encoder, *sets) if isinstance(encoder, FrozenEncoder) else encoder


class CachedEncoder(TextEncoder):
    """`encode` reads what is known of captions: the sets given are cached, each as one. For others
    the network comes back, and leaves again; they are then remembered."""

    def __init__(self, encoder: FrozenEncoder, *sets: Sequence[str]) -> None:
        self.encoder = encoder
        self.dim, self.pooled_dim = encoder.dim, encoder.pooled_dim
        self.max_length = encoder.max_length
        self._places: dict[str, tuple[States, int]] = {}
        for captions in sets:
            states = cached_states(encoder, captions)
            self._places |= {caption: (states, i) for i, caption in enumerate([*captions, ""])}
        self._others: dict[str, Encoded] = {}
        encoder.leave()

    def encode(self, captions: Sequence[str]) -> Cond:
        checked(captions)
        known = self._places, self._others
        new = [c for c in dict.fromkeys(captions) if not any(c in each for each in known)]
        if new:
            cond = self.encoder.encode(new).to("cpu")
            self._others |= zip(new, apart(cond), strict=True)
            self.encoder.leave()
        return batched([self._caption(caption) for caption in captions]).to(self.encoder.device)

    def _caption(self, caption: str) -> Encoded:
        if caption in self._others:
            return self._others[caption]
        states, place = self._places[caption]
        return states.caption(place)

    def clipped(self, captions: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        return self.encoder.clipped(captions)

    def each(self, tokens: Sequence[list[int]]) -> list[Encoded]:
        return self.encoder.each(tokens)

    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]:
        return self.encoder.spans(captions)

    def card(self) -> dict[str, Any]:
        return self.encoder.card()

    def save(self, folder: Path) -> None:
        self.encoder.save(folder)

    @property
    def frozen(self) -> int:
        return self.encoder.frozen

    @property
    def frozen_bytes(self) -> int:
        return self.encoder.frozen_bytes


def apart(cond: Cond) -> list[Encoded]:
    """The captions of a condition that `batched` has made."""
    assert cond.states is not None and cond.mask is not None
    pooled = [None] * len(cond.states) if cond.pooled is None else list(cond.pooled)
    states = (rows[mask] for rows, mask in zip(cond.states, cond.mask, strict=True))
    return [*map(Encoded, states, pooled)]
