"""The config of `dmtool tune-sampler`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import Count, Location, Natural, NonNegative, Positive, Schema
from dmtool.config.extractors import Extractor
from dmtool.config.sampling import Sampler
from dmtool.config.using import OnData, Use


@dataclass(frozen=True, kw_only=True)
class Guided(Schema):
    """Which guidance `tune-sampler` tries: scales, and intervals (low, high] of sigma / alpha."""

    scales: tuple[float, ...]
    intervals: Annotated[tuple[tuple[NonNegative, Positive | None], ...], Field(min_length=1)]
    count: Annotated[int, Field(ge=2)]


@dataclass(frozen=True, kw_only=True)
class TuneSampler(Use, OnData):
    """`dmtool tune-sampler`; each of `samplers` and `grids` is a kind, perhaps with Hydra's words
    for its options."""

    calls: Count
    reference: Sampler
    split: Literal["train", "val", "test"]
    prompts: Location | None
    count: Count
    samplers: Annotated[tuple[str, ...], Field(min_length=1)]
    grids: Annotated[tuple[str, ...], Field(min_length=1)]
    keep: Count
    rounds: Natural
    guided: Guided
    extractor: Extractor

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reference.deterministic:
            raise ValueError(f"reference={self.reference.kind} is random: nothing comes near it")
        if self.prompts is not None and self.guided.scales:
            raise ValueError(
                "guidance is tuned by the captions' real pictures, which prompts= has not: "
                "add guided.scales=[]"
            )
