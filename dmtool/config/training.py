"""The configs of the three stages' training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from dmtool.config.base import (
    Count,
    Fraction,
    From,
    Listed,
    Location,
    Name,
    Natural,
    NonNegative,
    OneOf,
    Positive,
    Schema,
    Several,
)
from dmtool.config.extractors import Extractor
from dmtool.config.guidance import Guidance
from dmtool.config.noise import LearnedVariance, Noise
from dmtool.config.optim import Optim
from dmtool.config.parts import Data, Text, UNet, Vae
from dmtool.config.sampling import DdpmSampler, Sampler

Figures = dict[str, Callable[[float, float], float]]
"""Names of held-out figures, each with the function that picks the better of two: min or max."""

EVALUATED: dict[str, Figures] = {
    "fd": {"eval_fd": min},
    "kid": {"eval_kid": min},
    "manifold": {f"eval_{name}": max for name in ("precision", "recall", "density", "coverage")},
    "retrieval": {"eval_r@1": max, "eval_r@10": max},
}
"""The figures that each of `evaluate.metrics` gives."""


@dataclass(frozen=True, kw_only=True)
class EmaBase(Schema):
    """`snapshots`: widths of power-function averages that the run keeps for `dmtool ema`."""

    snapshots: list[Annotated[float, Field(gt=0, lt=0.28)]]


@dataclass(frozen=True, kw_only=True)
class PowerEma(EmaBase):
    """Power-function average of relative width `sigma_rel` (EDM2, arXiv:2312.02696); 0 is none."""

    kind: Literal["power"]
    sigma_rel: Annotated[float, Field(ge=0, lt=0.28)]


@dataclass(frozen=True, kw_only=True)
class ExponentialEma(EmaBase):
    """The usual exponential average; `half_life` is in pictures."""

    kind: Literal["exponential"]
    half_life: Count


Ema = Annotated[PowerEma | ExponentialEma, OneOf]


@dataclass(frozen=True, kw_only=True)
class Limit(Schema):
    """Training ends at whichever comes first; `null` is no limit."""

    pictures: Count | None
    minutes: Positive | None

    def __post_init__(self) -> None:
        if self.pictures is None and self.minutes is None:
            raise ValueError("set limit.pictures or limit.minutes: training needs an end")

    def fraction(self, pictures: int, seconds: float) -> float:
        """Progress after so many pictures and seconds: the larger of the two, 1 is the end."""
        by_pictures = pictures / self.pictures if self.pictures else 0.0
        by_minutes = seconds / 60 / self.minutes if self.minutes else 0.0
        return max(by_pictures, by_minutes)


@dataclass(frozen=True, kw_only=True)
class Every(Schema):
    """Cadences, in pictures seen; all is done at the end, too. `null` is never, and of a
    checkpoint at the end alone."""

    log: Count
    validate: Count | None
    evaluate: Count | None
    preview: Count | None
    checkpoint: Count | None
    snapshot: Count | None


@dataclass(frozen=True, kw_only=True)
class Evaluate(Schema):
    """What `every.evaluate` measures: pictures for `count` captions of the val split.

    Measures of all pairs take `max_real` real pictures at most (null: all of them).
    """

    count: Annotated[int, Field(gt=1)]
    max_real: Several | None
    metrics: Annotated[list[Literal["fd", "kid", "manifold", "retrieval"]], Listed]
    extractor: Extractor


@dataclass(frozen=True, kw_only=True)
class Compute(Schema):
    """How a step is computed; see `train/compute.py`."""

    checkpointing: bool
    channels_last: bool
    compile: bool


@dataclass(frozen=True, kw_only=True)
class Keep(Schema):
    """Which checkpoints stay: the newest, one of each so many pictures, the best by a figure."""

    last: Count
    every: Count | None
    best: str | None


@dataclass(frozen=True, kw_only=True)
class Wandb(Schema):
    """`timeout`: the seconds that its server has to answer."""

    mode: Literal["offline", "online"]
    project: Name
    timeout: Positive


@dataclass(frozen=True, kw_only=True)
class Alert(Schema):
    """`stall`: seconds without a step after which the run says so; `null` is never."""

    stall: Positive | None


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


@dataclass(frozen=True, kw_only=True)
class Recovery(Schema):
    """What becomes of steps whose loss or gradient is not finite, beside being skipped.

    When there are `after` more of them than finite ones since, the run goes back to the last
    checkpoint before them and on past them, its learning rate times `lr_factor`; at most
    `rollbacks` times.
    """

    after: Count
    rollbacks: Natural
    lr_factor: Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Train(Machine):
    """What the stages share: `stage` names one and its directory, `role` its artifacts in their
    cards, `figures` are those of its `every.validate`."""

    stage: ClassVar[str]
    role: ClassVar[str]
    figures: ClassVar[Figures]

    dtype: Literal["auto", "fp32", "bf16", "fp16", "fp64"]
    data: Data
    resolution: Count | None
    batch_size: Count
    accumulation: Count
    parallel: Literal["auto", "ddp", "fsdp2"]
    compute: Compute
    recovery: Recovery
    limit: Limit
    optim: Optim
    ema: Ema
    every: Every
    evaluate: Evaluate
    keep: Keep
    held_out: Count
    other_pictures: Literal["refuse", "accept"]
    init: Location | None
    track: Annotated[list[Literal["wandb", "tensorboard"]], Listed]
    wandb: Wandb
    alert: Alert

    def __post_init__(self) -> None:
        if self.keep.best is not None and self.keep.best not in self.judged:
            measured = f"none of {', '.join(self.judged)}" if self.judged else "not measured"
            more = [key for key in ("validate", "evaluate") if vars(self.every)[key] is None]
            words = "".join(f"; every.{key}=PICTURES measures more" for key in more)
            raise ValueError(f"keep.best={self.keep.best} is {measured}{words}")
        if "/" in self.run:
            raise ValueError(f"run={self.run} is a path; give a name, and the directory as root=")
        if self.compute.channels_last and self.optim.kind == "adam8bit":
            raise ValueError("optim=adam8bit undoes compute.channels_last: leave one of them")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size={self.batch_size} is not divisible by accumulation={self.accumulation}"
            )

    @property
    def evaluated(self) -> Figures:
        """The figures of `every.evaluate`."""
        if self.every.evaluate is None:
            return {}
        return {
            name: best for key in self.evaluate.metrics for name, best in EVALUATED[key].items()
        }

    @property
    def judged(self) -> Figures:
        """All figures that may be the best so far."""
        return (self.figures if self.every.validate else {}) | self.evaluated

    @property
    def preview_every(self) -> int | None:
        """The cadence of previews, None if there is nothing to show."""
        return self.every.preview

    @property
    def parents(self) -> dict[str, str]:
        """The stages whose artifacts it is trained on, with their runs."""
        return {}


@dataclass(frozen=True, kw_only=True)
class VaeLoss(Schema):
    """The reconstruction's error, and the weight of the KL term (both per picture value).

    `saturating`: a value at the end of its range (black, white) cannot be overshot.
    """

    reconstruction: Literal["l1", "l2", "charbonnier"]
    saturating: bool
    kl: NonNegative


@dataclass(frozen=True, kw_only=True)
class TrainVae(Train):
    stage, role = "vae", "autoencoder"
    figures: ClassVar[Figures] = {"val_psnr": max, "val_ssim": max}

    resolution: Annotated[int, Field(ge=11)]  # SSIM's window
    vae: Vae
    loss: VaeLoss

    def __post_init__(self) -> None:
        super().__post_init__()
        _fits(self.resolution, self.vae.factor, "vae")


@dataclass(frozen=True, kw_only=True)
class FromVae(Schema):
    vae: Location | None


@dataclass(frozen=True, kw_only=True)
class LatentShape(Schema):
    """What an autoencoder makes of pictures: `channels`, at 1 / `factor` of their size."""

    channels: Count
    factor: Count


@dataclass(frozen=True, kw_only=True)
class Preview(Schema):
    """`prompts`: of none there are no previews."""

    prompts: list[Name]
    seed: Natural


@dataclass(frozen=True, kw_only=True)
class TrainUnet(Train):
    stage, role = "unet", "noise predictor"
    figures: ClassVar[Figures] = {"val_loss": min}

    codec: Literal["vae", "pixels"]
    from_: Annotated[FromVae, From]
    latent: LatentShape | None
    text: Text
    unet: UNet
    noise: Noise
    caption_dropout: Fraction
    preview: Preview
    sampler: Sampler
    guidance: Guidance

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codec == "pixels":
            if self.resolution is None:
                raise ValueError("codec=pixels needs resolution=, the pictures' size in pixels")
            _fits(self.resolution, self.unet.factor, "unet")
            if self.latent is not None:
                raise ValueError("codec=pixels has no autoencoder: leave latent=null")
        if self.guidance.bad is not None:
            raise ValueError("guidance.bad is of sampling: previews have no worse model yet")
        if self.guidance.perturbed.scale:
            raise ValueError("guidance.perturbed is of sampling: previews are not guided by it")
        _learns(self.noise, self.sampler)

    @property
    def preview_every(self) -> int | None:
        return self.every.preview if self.preview.prompts else None

    @property
    def parents(self) -> dict[str, str]:
        return {} if self.codec == "pixels" else {"vae": self.from_.vae or self.run}


@dataclass(frozen=True, kw_only=True)
class TrainUpsampler(Train):
    """`augmentation` is the largest noise time that the small picture is corrupted to."""

    stage, role = "upsampler", "upsampler"
    figures: ClassVar[Figures] = {"val_psnr": max}

    resolution: Count
    crop_size: Count | None
    factor: Literal[2, 4]
    augmentation: Fraction
    sample_augmentation: Fraction
    text: Text
    upsampler: UNet
    noise: Noise
    caption_dropout: Fraction
    sampler: Sampler

    def __post_init__(self) -> None:
        super().__post_init__()
        for size in filter(None, (self.resolution, self.crop_size)):
            _fits(size, self.upsampler.factor, "upsampler")
            _fits(size, self.factor, "factor")
        if isinstance(self.noise.variance, LearnedVariance):
            raise ValueError("noise/variance=learned is of train-unet: leave the upsampler's fixed")
        _learns(self.noise, self.sampler)


STAGES: dict[str, type[Train]] = {
    each.stage: each for each in (TrainVae, TrainUnet, TrainUpsampler)
}
"""In the order in which they are trained."""


def _known(stage: str) -> str:
    if stage not in STAGES:
        raise ValueError(f"{stage!r} is none of {', '.join(map(repr, STAGES))}")
    return stage


StageName = Annotated[str, AfterValidator(_known)]


def _learns(noise: Noise, sampler: Sampler) -> None:
    """Previews can only be sampled with a variance that is learned."""
    wanted = isinstance(sampler, DdpmSampler) and sampler.variance == "learned"
    if wanted and not isinstance(noise.variance, LearnedVariance):
        raise ValueError("sampler.variance=learned needs noise/variance=learned, in train-unet")


def _fits(size: int, factor: int, what: str) -> None:
    if size % factor:
        raise ValueError(
            f"a size of {size} pixels is not divisible by {factor}, which {what} needs"
        )
