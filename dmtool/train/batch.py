"""A batch of examples: tensors that are cut, pinned and moved together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from dmtool.cond import Cond


@dataclass(frozen=True, eq=False)
class Batch:
    """Base of what stages learn from: fields are tensors [B, ...] and Conds of B pictures, or None
    where a training has no such thing."""

    on_host: ClassVar[frozenset[str]] = frozenset()
    """Fields that stay on the CPU as they are: what is read there, and times in float64, whose
    coefficients are computed there, since not every device has that type."""

    def __len__(self) -> int:
        return len(next(iter(self.tensors().values())))

    def rows(self, index: slice) -> Self:
        """The examples that a slice picks."""
        return self._map(lambda value: value[index], lambda cond: cond.rows(index))

    def parts(self, count: int) -> Iterator[Self]:
        """The batch in equal parts, one after another."""
        size = len(self) // count
        for i in range(count):
            yield self.rows(slice(i * size, (i + 1) * size))

    def pin_memory(self) -> Self:
        """In memory that a device reads by itself."""
        return self._map(Tensor.pin_memory, Cond.pin_memory)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """On `device`, where networks compute in `dtype`: numbers are moved as they are (autocast
        does the rest), in float64 if all is computed in it. Pinned memory is not waited for."""
        wide = dtype if dtype == torch.float64 else None

        def move(value: Tensor) -> Tensor:
            return value.to(device, wide if value.is_floating_point() else None, non_blocking=True)

        moved = self._map(move, lambda cond: cond.to(device, wide, non_blocking=True))
        return replace(moved, **{name: getattr(self, name) for name in self.on_host})

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; those of a condition by `cond.NAME`."""
        named: dict[str, Tensor] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Cond):
                named |= {f"{each.name}.{key}": tensor for key, tensor in value.named().items()}
            elif value is not None:
                named[each.name] = value
        return named

    def _map(self, tensor: Callable[[Tensor], Tensor], cond: Callable[[Cond], Cond]) -> Self:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        changed: dict[str, Any] = {
            name: cond(value) if isinstance(value, Cond) else tensor(value)
            for name, value in values.items()
            if value is not None
        }
        return replace(self, **changed)
