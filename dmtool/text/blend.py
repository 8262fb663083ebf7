"""Prompts on the way from one to another: their conditions mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dmtool.cond import Cond


class Blend(NamedTuple):
    """What is said on the way from one prompt to another; `share` of it is behind, in [0, 1]."""

    first: str
    second: str
    share: float


Prompt = str | Blend


def ends(prompts: Sequence[Prompt]) -> tuple[list[str], list[str], list[float]]:
    """The prompts that each is between, and its share of the way; a plain one is between itself."""
    blends = [each if isinstance(each, Blend) else Blend(each, each, 0.0) for each in prompts]
    return [b.first for b in blends], [b.second for b in blends], [b.share for b in blends]


def mixed(first: Cond, second: Cond, shares: Sequence[float]) -> Cond:
    """States and pooled vectors on the straight lines between two conditions, at `shares` [B].

    Tokens are paired by their place; where a caption has no more, it goes on with its last one. At
    0 and 1 only a caption's own tokens are attended to, so that its condition is the plain one. The
    states are float: those of a learned text encoder must have been computed.
    """
    if first.states is None or second.states is None:
        return first
    both = Cond.cat([first, second])
    assert both.states is not None and not both.extras
    states, mask = both.states, both.mask
    if mask is not None:
        states = _continued(states, mask)
        one, two = mask.chunk(2)
        share = torch.tensor(shares, device=mask.device)[:, None]
        mask = one & (share < 1) | two & (share > 0)
    pooled = None if both.pooled is None else _line(both.pooled, shares)
    return Cond(_line(states, shares), mask, pooled)


def _continued(states: Tensor, mask: Tensor) -> Tensor:
    """States [B, L, D] whose masked places hold the last unmasked one's."""
    places = torch.arange(mask.shape[1], device=mask.device)
    end = torch.where(mask, places, 0).amax(1, keepdim=True)
    taken = torch.where(mask, places, end)
    return states.gather(1, taken[..., None].expand_as(states))


def _line(both: Tensor, shares: Sequence[float]) -> Tensor:
    first, second = both.chunk(2)
    share = torch.tensor(shares).to(both).reshape(-1, *[1] * (both.dim() - 1))
    return (1 - share) * first + share * second
