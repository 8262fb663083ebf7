"""The captions of a split's rows as conditions: one picked an epoch, some dropped."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from dmtool import text
from dmtool.cond import Cond
from dmtool.diffusion.network import NoisePredictor
from dmtool.text import TextEncoder
from dmtool.train.feed import Place

NULL = -1
"""The index of the null caption."""


def flat(captions: Sequence[Sequence[str]]) -> list[str]:
    """All captions of all rows."""
    return [caption for row in captions for caption in row]


class Captions:
    """Encoded (or tokenised) once; a row without a caption has the null caption."""

    def __init__(self, captions: Sequence[Sequence[str]], encoder: TextEncoder) -> None:
        self.counts = torch.tensor([len(row) for row in captions])
        self.first = torch.tensor([0, *accumulate(self.counts.tolist())][:-1])
        self.states = text.cached_states(encoder, flat(captions))

    def cond(
        self, places: Sequence[Place], pick: Tensor | None = None, drop: Tensor | None = None
    ) -> Cond:
        """The conditions of B rows; `pick` [B] in [0, 1) chooses among a row's captions (None: the
        first), and where `drop` [B] is True the null caption stands instead."""
        rows = torch.tensor([row for _, row in places])
        pick = torch.zeros(len(rows)) if pick is None else pick
        counts = self.counts[rows]
        index = self.first[rows] + (pick * counts).long()
        index = index.masked_fill(counts == 0, NULL)
        return self.states.cond(index if drop is None else index.masked_fill(drop, NULL))

    def standardise(self, predictor: NoisePredictor) -> None:
        """Give the network the captions' mean and deviation per channel, if it standardises."""
        predictor.unet.standardise(self.states.statistics())
