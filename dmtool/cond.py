"""What a network is conditioned on: one dataclass, so a new condition adds no argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, eq=False)
class Cond:
    """The condition of a batch of B pictures; what is None is absent (an unconditional model).

    `states` are text states [B, L, D] (float), or token ids [B, L] (int64) for a text encoder that
    is learned with the network; `mask` [B, L] (bool) is True where there is a token (None:
    everywhere); `pooled` [B, P] is one vector a caption; `extras` are further conditions [B, ...]
    by name.
    """

    states: Tensor | None = None
    mask: Tensor | None = None
    pooled: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """B, or 0 if nothing is conditioned on."""
        return next((len(tensor) for tensor in self.named().values()), 0)

    def to(
        self,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> Cond:
        """The same on `device`; `dtype` is for floating tensors only: ids and masks keep theirs."""

        def move(tensor: Tensor) -> Tensor:
            wanted = dtype if tensor.is_floating_point() else None
            return tensor.to(device, wanted, non_blocking=non_blocking)

        return self._map(move)

    def pin_memory(self) -> Cond:
        """In memory that a device reads by itself."""
        return self._map(Tensor.pin_memory)

    def rows(self, index: Tensor | slice | Sequence[int]) -> Cond:
        """The pictures that `index` (positions, a boolean mask [B] or a slice) picks."""
        if isinstance(index, slice):
            return self._map(lambda tensor: tensor[index])
        index = torch.as_tensor(index)
        if not index.numel():
            index = index.long()  # torch takes an empty list for floats
        return self._map(lambda tensor: tensor[index.to(tensor.device)])

    def repeat_interleave(self, n: int) -> Cond:
        """Each picture's condition n times in a row: [B, ...] -> [B * n, ...]."""
        return self._map(lambda tensor: tensor.repeat_interleave(n, 0))

    def with_extras(self, **tensors: Tensor) -> Cond:
        """The same with further conditions, which replace extras of the same name."""
        return replace(self, extras={**self.extras, **tensors})

    @classmethod
    def cat(cls, conds: Sequence[Cond]) -> Cond:
        """One after another along the batch; L is padded (zeros, mask False) to the longest.

        Raises ValueError if a condition is present in some and absent in others.
        """
        conds = _with_masks(conds)
        names = {name: None for cond in conds for name in cond.extras}
        extras = {name: _cat(name, [c.extras.get(name) for c in conds]) for name in names}
        return cls(
            states=_cat("states", _padded([c.states for c in conds])),
            mask=_cat("mask", _padded([c.mask for c in conds])),
            pooled=_cat("pooled", [c.pooled for c in conds]),
            extras={name: tensor for name, tensor in extras.items() if tensor is not None},
        )

    def named(self) -> dict[str, Tensor]:
        """What is conditioned on, by name."""
        own = {"states": self.states, "mask": self.mask, "pooled": self.pooled}
        present = {name: tensor for name, tensor in own.items() if tensor is not None}
        return present | self.extras

    def _map(self, function: Callable[[Tensor], Tensor]) -> Cond:
        def apply(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else function(tensor)

        extras = {name: function(tensor) for name, tensor in self.extras.items()}
        return Cond(apply(self.states), apply(self.mask), apply(self.pooled), extras)


def _with_masks(conds: Sequence[Cond]) -> list[Cond]:
    """A mask (all True) for states that have none, as soon as one of `conds` needs it."""
    lengths = {cond.states.shape[1] for cond in conds if cond.states is not None}
    if len(lengths) < 2 and all(cond.mask is None for cond in conds):
        return list(conds)
    return [
        replace(c, mask=c.states.new_ones(c.states.shape[:2], dtype=torch.bool))
        if c.mask is None and c.states is not None
        else c
        for c in conds
    ]


def _padded(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Zeros appended along dimension 1 up to the longest."""
    longest = max((t.shape[1] for t in tensors if t is not None), default=0)
    return [
        t if t is None else pad(t, (0, 0) * (t.ndim - 2) + (0, longest - t.shape[1]))
        for t in tensors
    ]


def _cat(name: str, tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    if present and len(present) < len(tensors):
        raise ValueError(f"cannot concatenate conditions with and without {name!r}")
    return torch.cat(present) if present else None
