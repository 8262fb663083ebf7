"""The configs of commands that use what was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.schemas.base import (
    Count,
    Fraction,
    From,
    Natural,
    NonNegative,
    Positive,
    Schema,
)
from dmtool.schemas.guidance import Guidance
from dmtool.schemas.noise import Noise
from dmtool.schemas.optim import Optim
from dmtool.schemas.parts import Data
from dmtool.schemas.sampling import Sampler
from dmtool.schemas.training import Machine


@dataclass(frozen=True, kw_only=True)
class Upsample(Schema):
    """`use`: auto takes the run's upsampler, if any; `augmentation`: null is its own default."""

    use: Literal["auto", "always", "never"]
    artifact: str
    augmentation: Fraction | None
    sampler: Sampler


@dataclass(frozen=True, kw_only=True)
class FromUse(Schema):
    unet: str | None
    upsampler: str | None
    bad: str | None


@dataclass(frozen=True, kw_only=True)
class Use(Machine):
    """What all commands that sample share."""

    from_: Annotated[FromUse, From]
    dtype: Literal["auto", "fp32", "bf16", "fp16"]
    artifact: str
    sampler: Sampler
    guidance: Guidance
    upsample: Upsample
    batch_size: Count
    tuned: bool

    def __post_init__(self) -> None:
        if self.from_.bad is not None and self.guidance.bad is None:
            raise ValueError("from.bad is the run of guidance.bad: name its artifact there, too")


@dataclass(frozen=True, kw_only=True)
class Extractor(Schema):
    """The network whose features are compared; `weights`: a path, or null for the usual place."""

    kind: Literal["effnet_lite0", "inception"]
    weights: str | None


@dataclass(frozen=True, kw_only=True)
class EvalFid(Use):
    """`dmtool eval-fid`: pictures for `count` captions of a split (null: all of them)."""

    split: Literal["train", "val", "test"]
    count: Count | None
    extractor: Extractor


@dataclass(frozen=True, kw_only=True)
class Guided(Schema):
    """Which guidance `tune-sampler` tries: scales, and intervals (low, high] of sigma / alpha."""

    scales: tuple[float, ...]
    intervals: Annotated[tuple[tuple[NonNegative, Positive | None], ...], Field(min_length=1)]
    count: Annotated[int, Field(ge=2)]


@dataclass(frozen=True, kw_only=True)
class TuneSampler(Use):
    """`dmtool tune-sampler`; `samplers` and `grids` are Hydra's words, with blanks between."""

    calls: Count
    reference: Sampler
    split: Literal["train", "val", "test"]
    prompts: str | None
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


@dataclass(frozen=True, kw_only=True)
class Lengths(Schema):
    """`dmtool ema`: other lengths of the average of a run's stage."""

    run: str
    root: str
    stage: Literal["vae", "unet", "upsampler"]
    device: str


@dataclass(frozen=True, kw_only=True)
class NoisePlot(Schema):
    """`dmtool plot-noise`: a process, at so many positions (height times width) of the state."""

    noise: Noise
    positions: Count


@dataclass(frozen=True, kw_only=True)
class HasData(Schema):
    """The data section alone, as `dmtool data` takes it."""

    data: Data


@dataclass(frozen=True, kw_only=True)
class HasOptim(Schema):
    """The optimizer's section alone."""

    optim: Optim
