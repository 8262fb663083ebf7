"""What the headers of a set's pictures say: how small they are, and their colour profiles."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dmtool.data import colour
from dmtool.data.transforms import header
from dmtool.say import counted

SHOWN = 3
"""Pictures that a line names."""


@dataclass
class Headers:
    """Gathered while pictures are stored. `sides` counts shorter sides, in pixels."""

    sides: Counter[int] = field(default_factory=Counter)
    profiled: int = 0
    unusable: list[str] = field(default_factory=list)

    def add(self, key: str, data: bytes) -> None:
        """The header of a known good picture file."""
        image = header(data)
        self.sides[min(image.size)] += 1
        profile = colour.profile(image)
        self.profiled += profile.transform is not None
        if profile.fault:
            self.unusable.append(f"{key} ({profile.fault})")

    def notes(self) -> list[str]:
        """What a user should know of the profiles."""
        lines = []
        if self.profiled:
            lines.append(
                f"{counted(self.profiled, 'picture has', 'pictures have')} a colour profile that "
                "is not sRGB: data.profiles=convert turns their colours into sRGB"
            )
        if self.unusable:
            more = len(self.unusable) - SHOWN
            named = ", ".join(self.unusable[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")
            lines.append(
                f"{counted(len(self.unusable), 'colour profile')} cannot be used, these pictures "
                f"are taken as sRGB: {named}"
            )
        return lines
