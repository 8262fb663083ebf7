"""The networks whose features are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dmtool.schemas.base import Schema


@dataclass(frozen=True, kw_only=True)
class Extractor(Schema):
    """The network whose features are compared; `weights`: a path, or null for the usual place."""

    kind: Literal["effnet_lite0", "inception"]
    weights: str | None
