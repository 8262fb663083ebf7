"""The configs of commands that use what was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from dmtool.config.base import (
    ArtifactName,
    Count,
    Fraction,
    From,
    Listed,
    Location,
    Name,
    Natural,
    Positive,
    Schema,
    Several,
    Share,
)
from dmtool.config.extractors import Extractor
from dmtool.config.guidance import Guidance
from dmtool.config.kinds import one_of
from dmtool.config.noise import Noise
from dmtool.config.parts import Data, DataPlace
from dmtool.config.runtime import Machine, Runtime
from dmtool.config.sampling import Grid, Sampler, ends_clean
from dmtool.config.stages import StageName


@dataclass(frozen=True, kw_only=True)
class Upsampling(Schema):
    """`use`: auto takes the run's upsampler, if any; `augmentation`: null is its own default."""

    use: Literal["auto", "always", "never"]
    artifact: ArtifactName
    augmentation: Fraction | None
    sampler: Sampler


@dataclass(frozen=True, kw_only=True)
class FromUse(Schema):
    unet: Location | None
    upsampler: Location | None
    bad: Location | None


@dataclass(frozen=True, kw_only=True)
class Use(Machine):
    """What all commands that sample share."""

    from_: Annotated[FromUse, From]
    dtype: Literal["auto", "fp32", "bf16", "fp16"]
    artifact: ArtifactName
    sampler: Sampler
    guidance: Guidance
    upsample: Upsampling
    batch_size: Count

    def __post_init__(self) -> None:
        if self.from_.bad is not None and self.guidance.bad is None:
            raise ValueError("from.bad is the run of guidance.bad: name its artifact there, too")


@dataclass(frozen=True, kw_only=True)
class OnData(Schema):
    """What commands share that read the pictures that a run was trained on."""

    data: DataPlace


@dataclass(frozen=True, kw_only=True)
class Tuned(Use):
    """Those that begin with the artifact's own sampler and guidance, if it has any."""

    tuned: bool


@dataclass(frozen=True, kw_only=True)
class Whose(Schema):
    """The keys that say whose defaults are meant, and whether."""

    run: Location
    root: Location
    from_: Annotated[FromUse, From]
    artifact: ArtifactName
    tuned: bool


@dataclass(frozen=True, kw_only=True)
class Enlarging(Schema):
    """How an upsampler is used, not whether, nor which."""

    augmentation: Fraction | None
    sampler: Sampler


@dataclass(frozen=True, kw_only=True)
class Defaults(Schema):
    """All that an artifact's sampling may begin with; null leaves a group as the config has it."""

    sampler: Sampler | None
    guidance: Guidance | None
    upsample: Enlarging | None


METRICS = (
    "fd", "floor", "spread", "kid", "manifold", "retrieval",
    "infinity", "mind", "cmmd", "inception_score",
)  # fmt: skip
"""What `dmtool eval-fid` can measure."""


@dataclass(frozen=True, kw_only=True)
class Inpaint(Schema):
    """A picture with a mask: each stretch of `jump` steps is walked `repeats` times (RePaint)."""

    strength: Share
    repeats: Count
    jump: Count


@dataclass(frozen=True, kw_only=True)
class Editing(Schema):
    """A picture that is given; `strength`: the share of the steps that it goes through."""

    strength: Share
    inpaint: Inpaint


@dataclass(frozen=True, kw_only=True)
class Animation(Schema):
    """Files that move; a frame is shown for `seconds`, the last one for `hold`."""

    format: Literal["webp", "gif"]
    seconds: Positive
    hold: Positive


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Tuned):
    """`dmtool sample`."""

    edit: Editing
    animation: Animation


@dataclass(frozen=True, kw_only=True)
class OneStage(Runtime):
    """Commands that use one stage of a run, by its `artifact`, on the user's own pictures."""

    dtype: Literal["auto", "fp32", "bf16", "fp16"]
    artifact: ArtifactName


@dataclass(frozen=True, kw_only=True)
class Reconstruct(OneStage):
    """`dmtool reconstruct`."""


@dataclass(frozen=True, kw_only=True)
class Upscale(OneStage):
    """`dmtool upscale`; `augmentation`: null is the upsampler's own."""

    seed: Natural
    augmentation: Fraction | None
    sampler: Sampler


@dataclass(frozen=True, kw_only=True)
class EvalFid(Tuned, OnData):
    """`dmtool eval-fid`: pictures for `count` captions of a split (null: all of them).

    Measures of all pairs take `max_real` real pictures at most (null: all of them).
    """

    metrics: Annotated[list[Annotated[str, one_of("metric", METRICS)]], Listed]
    split: Literal["train", "val", "test"]
    count: Count | None
    max_real: Several | None
    extractor: Extractor


@dataclass(frozen=True, kw_only=True)
class Stats(Schema):
    """`dmtool stats`: the statistics of a folder's features."""

    extractor: Extractor
    device: Name
    batch_size: Count
    timeout: Positive


@dataclass(frozen=True, kw_only=True)
class VariationalBound(Schema):
    """`variance` is that of the model's steps; auto: learned if it has been, else large."""

    steps: Count
    grid: Grid
    variance: Literal["auto", "small", "large", "learned"]

    def __post_init__(self) -> None:
        if not ends_clean(self.grid):
            raise ValueError("the bound is of the clean picture: set bound.grid.last=zero")


@dataclass(frozen=True, kw_only=True)
class FlowLikelihood(Schema):
    """`low` and `high` are the levels sigma / alpha that the flow is followed between."""

    steps: Count
    low: Positive
    high: Positive
    probe: Literal["rademacher", "gaussian"]
    probes: Count

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}")


@dataclass(frozen=True, kw_only=True)
class FromUnet(Schema):
    unet: Location | None


@dataclass(frozen=True, kw_only=True)
class EvalNll(Machine, OnData):
    """`dmtool eval-nll`: the likelihood of `count` pictures of a split (null: all of them)."""

    from_: Annotated[FromUnet, From]
    artifact: ArtifactName
    dtype: Literal["auto", "fp32", "bf16", "fp16"]
    batch_size: Count
    split: Literal["train", "val", "test"]
    count: Count | None
    bound: VariationalBound | None
    flow: FlowLikelihood | None

    def __post_init__(self) -> None:
        if self.bound is None and self.flow is None:
            raise ValueError("bound and flow are both null: leave one of them")


@dataclass(frozen=True, kw_only=True)
class Lengths(OnData):
    """`dmtool ema`: other lengths of the average of a run's stage."""

    run: Location
    root: Location
    stage: StageName
    device: Name


@dataclass(frozen=True, kw_only=True)
class NoisePlot(Schema):
    """`dmtool plot-noise`: a process, at so many positions (height times width) of the state."""

    noise: Noise
    positions: Count


@dataclass(frozen=True, kw_only=True)
class HasData(Schema):
    """The data section alone."""

    data: Data


@dataclass(frozen=True, kw_only=True)
class Inspect(HasData):
    """`dmtool data`; `resolution` is what a stage would be trained at, in pixels."""

    resolution: Count | None
