"""Where a command finds its runs, and what computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dmtool.config.base import Location, Name, Natural, Positive, Schema


@dataclass(frozen=True, kw_only=True)
class Runtime(Schema):
    """Where runs stand and what computes. `timeout`: seconds without a sign of life after which a
    process of several is lost."""

    run: Annotated[Location, Field(pattern=r"^[^\s]+$")]
    root: Location
    device: Name
    timeout: Positive


@dataclass(frozen=True, kw_only=True)
class Machine(Runtime):
    seed: Natural
