"""Steps of optimizers that are made only if the gradient is finite, without waiting for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from dmtool.device import asynchronous, locks_pages
from dmtool.train.shard import local


class Verdict:
    """A yes or no that the device is still computing: read a step later, nobody waits for it."""

    def __init__(self, value: Tensor) -> None:
        self._value, self._event = value, None
        if locks_pages(value.device):
            self._value = torch.empty((), dtype=value.dtype, pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._event = torch.Event(value.device)
            self._event.record()

    def __bool__(self) -> bool:
        if self._event is not None:
            self._event.synchronize()
        return bool(self._value)


@torch.no_grad()
def step_if(finite: Tensor, optimizer: Optimizer) -> None:
    """`optimizer.step()` if the scalar `finite` on the device is True; else all stays as it is.

    torch's fused optimizers decide on the device. Others make their step, and it is taken back
    there: the copies lie in memory that activations have left. (Counters that such an optimizer
    keeps in Python go on.) Only its very first step, which makes its state, waits for the device.
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif not asynchronous(finite.device) or not optimizer.state:
        if finite:
            optimizer.step()
    else:
        _step_or_restore(finite, optimizer)


def _step_or_restore(finite: Tensor, optimizer: Optimizer) -> None:
    changing = _tensors(optimizer)
    before = [tensor.clone() for tensor in changing]
    optimizer.step()
    for tensor, old in zip(changing, before, strict=True):
        torch.where(finite, tensor, old, out=tensor)


def _tensors(optimizer: Optimizer) -> list[Tensor]:
    """All that a step may change."""
    weights = [p.data for group in optimizer.param_groups for p in group["params"]]
    states = [value for state in optimizer.state.values() for value in state.values()]
    return [local(value) for value in weights + states if isinstance(value, Tensor)]
