"""The configs of the stages that are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from dmtool.config.adversarial import Adversarial
from dmtool.config.base import (
    Count,
    Fraction,
    From,
    Location,
    Name,
    Natural,
    Schema,
)
from dmtool.config.corruption import Corruption
from dmtool.config.guidance import Guidance
from dmtool.config.held_out import Figures
from dmtool.config.noise import LearnedVariance, Noise
from dmtool.config.parts import Text, UNet
from dmtool.config.sampling import DdpmSampler, Sampler
from dmtool.config.training import Train
from dmtool.config.vae import Vae


@dataclass(frozen=True, kw_only=True)
class VaeLoss(Schema):
    """The reconstruction's error, per picture value; what the kind adds has its weights there.

    `saturating`: a value at the end of its range (black, white) cannot be overshot.
    """

    reconstruction: Literal["l1", "l2", "charbonnier"]
    saturating: bool


@dataclass(frozen=True, kw_only=True)
class TrainVae(Train):
    stage, role = "vae", "autoencoder"
    figures: ClassVar[Figures] = {"val_psnr": max, "val_ssim": max}

    resolution: Annotated[int, Field(ge=11)]  # SSIM's window
    vae: Vae
    loss: VaeLoss
    corruption: Corruption
    adversarial: Adversarial

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
    stage, role = "unet", "generator"
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
