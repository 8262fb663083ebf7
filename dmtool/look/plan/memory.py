"""Memory: the most that was taken, what is free, and the largest micro-batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from dmtool.device import asynchronous, peak_memory


@dataclass(frozen=True)
class Peak:
    """The most bytes of memory so far: of this process, and of its GPU (None: there is none)."""

    host: int
    device: int | None


def peak(device: torch.device) -> Peak:
    """The peak so far, as a run's metrics have it."""
    host = int(1e9 * peak_memory(torch.device("cpu")))
    return Peak(host, None if device.type == "cpu" else int(1e9 * peak_memory(device)))


def forget(device: torch.device) -> None:
    """Let a GPU's peak begin anew: what filled the caches is not the training's."""
    if asynchronous(device):
        torch.accelerator.empty_cache()
        torch.accelerator.reset_peak_memory_stats(device)


def free() -> int:
    """Bytes that this machine can still give to processes."""
    return int(psutil.virtual_memory().available)


def power_of_two(number: float) -> int:
    """The largest one that is at most `number`; 0 if there is none."""
    return 1 << (int(number).bit_length() - 1) if number >= 1 else 0


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest power of two up to `most` that fits, tried one after another; 0 if none does."""
    found, micro = 0, 1
    while micro <= most and fits(micro):
        found, micro = micro, 2 * micro
    return found
