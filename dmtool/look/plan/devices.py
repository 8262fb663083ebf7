"""Other people's GPUs: what their makers state, and what that means for a training."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dmtool.errors import UserError

SHARE = 0.35
"""Of its peak that a GPU is assumed to reach in training: well-kept ones reach 0.3 to 0.5."""


@dataclass(frozen=True)
class Device:
    """Peak dense FLOP/s in bfloat16 with sums in float32 (in float16 where there is no bfloat16),
    and bytes of memory."""

    peak: float
    memory: float


DEVICES = {
    "T4": Device(65e12, 16e9),
    "V100": Device(125e12, 32e9),
    "A100": Device(312e12, 80e9),
    "H100": Device(989e12, 80e9),
    "RTX3090": Device(71e12, 24e9),
    "RTX4090": Device(165e12, 24e9),
}
"""NVIDIA's data sheets: V100 and H100 as SXM modules, A100 and V100 with the larger memory."""


@dataclass(frozen=True)
class Devices:
    """Some devices of one kind."""

    name: str
    count: int

    @property
    def device(self) -> Device:
        return DEVICES[self.name]

    def pictures_per_second(self, flops: float) -> float:
        """At `SHARE` of the peak and `flops` a picture; nothing is lost between devices."""
        return self.count * self.device.peak * SHARE / flops


def parse(words: str | None) -> list[Devices]:
    """'8xA100,T4' as devices; None is one of each kind. UserError names the kinds."""
    return [_one(word) for word in (words.split(",") if words else DEVICES)]


def _one(word: str) -> Devices:
    match = re.fullmatch(r"(?:([1-9]\d*)x)?(\w+)", word.strip().replace(" ", ""), re.IGNORECASE)
    names = {name.lower(): name for name in DEVICES}
    name = names.get(match[2].lower()) if match else None
    if match is None or name is None:
        raise UserError(f"--devices {word}: give 8xA100 or T4; there are: {', '.join(DEVICES)}")
    return Devices(name, int(match[1] or 1))
