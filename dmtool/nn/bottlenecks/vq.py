"""A book of codes that are moving averages of the features nearest to them (van den Oord et al.,
arXiv:1711.00937, appendix A.1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from dmtool.nn.bottlenecks.base import Bottled, DiscreteBottleneck
from dmtool.nn.precision import wide

LEAST = 1e-5
"""A moving count below which a code stays where it was."""

SLOTS = 2
"""A code's places for candidates of restarts."""


class Vq(DiscreteBottleneck):
    """Features become the nearest of the codes; gradients pass straight through.

    `commitment` is the mean squared distance. The book follows the features by sums over the whole
    step. A code that is used less than `restart` times as often as on even use begins anew, its
    averages as well, at a feature that is drawn by the examples' own noise.
    """

    def __init__(
        self, channels: int, codes: int, *, cosine: bool, decay: float = 0.0, restart: float = 0.0
    ) -> None:
        super().__init__()
        self.features = self.width = channels
        self.vocabulary, self.cosine, self.decay, self.restart = codes, cosine, decay, restart
        book = torch.randn(codes, channels)
        self.register_buffer("book", normalize(book) if cosine else book)
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("totals", torch.zeros(codes, channels))

    book: Tensor
    counts: Tensor
    totals: Tensor

    def forward(self, features: Tensor, noise: Tensor) -> Bottled:
        code = self.code(features)
        ids = self.ids(code)
        z = self.of_ids(ids).to(code)
        penalties = {"commitment": mse_loss(wide(code), wide(z))}
        sums = self._sums(wide(code.detach()), ids, noise)
        return Bottled(code + (z - code).detach(), penalties, {}, sums)

    def code(self, features: Tensor) -> Tensor:
        return normalize(features, dim=1) if self.cosine else features

    def embed(self, code: Tensor) -> Tensor:
        return self.of_ids(self.ids(code)).to(code)

    def ids(self, code: Tensor) -> Tensor:
        rows = _rows(self.code(wide(code))).to(self.book)
        return torch.cdist(rows, self.book).argmin(1).unflatten(0, (len(code), *code.shape[2:]))

    def of_ids(self, ids: Tensor) -> Tensor:
        return self.book[ids].movedim(-1, 1)

    def _sums(self, code: Tensor, ids: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """How often each code is used, and its features."""
        rows, flat = _rows(code), ids.flatten()
        ones = torch.ones_like(rows[:, :1])
        sums = {
            "counts": rows.new_zeros(self.vocabulary, 1).index_add_(0, flat, ones)[:, 0],
            "totals": rows.new_zeros(self.book.shape).index_add_(0, flat, rows),
        }
        return sums | (self._candidates(rows, noise) if self.restart else {})

    def _candidates(self, rows: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Features for codes that begin anew, in slots that are drawn by the examples' own noise,
        and how many have drawn each: who stands alone is a candidate, whoever computes it."""
        place, luck = (torch.special.ndtr(wide(noise[:, i])).flatten() for i in (0, 1))
        slots = SLOTS * self.vocabulary
        slot = (place * slots).long().clamp(max=slots - 1)
        taken = (luck < slots / self.counts.sum().clamp(min=1)).to(rows)[:, None]
        return {
            "drawn": rows.new_zeros(slots, 1).index_add_(0, slot, taken)[:, 0],
            "candidates": rows.new_zeros(slots, rows.shape[1]).index_add_(0, slot, taken * rows),
        }

    def settle(self, sums: Mapping[str, Tensor]) -> None:
        share = torch.where(self.counts.any(), 1 - self.decay, 1.0)  # of a first step: all
        self.counts.lerp_(sums["counts"], share.to(self.counts))
        self.totals.lerp_(sums["totals"], share.to(self.totals))
        if self.restart:
            self._begin_anew(sums["candidates"], sums["drawn"] == 1)
        book = self.totals / self.counts[:, None]
        book = normalize(book) if self.cosine else book
        self.book.copy_(torch.where(self.counts[:, None] > LEAST, book, self.book))

    def _begin_anew(self, candidates: Tensor, valid: Tensor) -> None:
        """Codes that are hardly used take the valid candidates, one each, as far as there are some;
        nothing of it waits for a device."""
        even = self.counts.mean()
        unused = self.counts < self.restart * even
        order = (~valid).int().argsort(stable=True)  # the valid ones first
        place = unused.cumsum(0) - 1
        anew = unused & (place < valid.sum())
        features = candidates[order[place.clamp(0, len(order) - 1)]]
        self.counts.copy_(torch.where(anew, even, self.counts))
        self.totals.copy_(torch.where(anew[:, None], features * even, self.totals))


def _rows(z: Tensor) -> Tensor:
    """[B, C, h, w] -> [B h w, C]."""
    return z.movedim(1, -1).flatten(0, 2)
