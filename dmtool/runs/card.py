"""What an artifact's card says, by role: every key that any code reads.

A card may come from anywhere, so that all of it is checked before any of it is used. Keys that no
role knows are left alone: nothing reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dmtool.config.base import Count, Fraction, Natural, Schema
from dmtool.config.parts import Text, UNetShape
from dmtool.config.vae import (
    ContinuousNetwork,
    FsqNetwork,
    SparseNetwork,
    VaeShape,
    VqNetwork,
)
from dmtool.runs.process_card import Above, AnyProcess, Finite, ProcessCard

Pixels = Annotated[int, Field(gt=0, le=2**15)]
PicturesSeen = Annotated[int, Field(ge=0, lt=2**63)]
Sha = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Words = Annotated[str, Field(max_length=10_000)]


class Open:
    """Base of sections that may have further keys."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "ignore"}


# --- parts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TextCard(Open):
    """See `text.encoder.card`."""

    kind: str
    name: Words
    sha256: Annotated[str, Field(max_length=64)]
    tokenizer: Annotated[str, Field(max_length=64)] | None
    config: Text
    dim: Natural
    pooled_dim: Natural

    def __post_init__(self) -> None:
        if self.kind != self.config.kind:
            raise ValueError(f"kind={self.kind} has a config of kind={self.config.kind}")


@dataclass(frozen=True, kw_only=True)
class UNetNetwork(UNetShape):
    """A U-Net with all its arguments, see `network.describe`."""

    kind: Literal["unet"]
    channels: Count
    text_dim: Count | None
    pooled_dim: Count | None
    images: dict[Literal["low_res"], Literal[3]]
    levels: list[Literal["low_res_level"]]
    residual: Literal["low_res"] | None
    outputs: Literal[1, 2]

    def check(self, text: TextCard, noise: ProcessCard, upsamples: bool) -> None:
        """ValueError if it is not the network of this text encoder, process and role."""
        extras = (["low_res"], ["low_res_level"]) if upsamples else ([], [])
        if (list(self.images), self.levels) != extras or (self.residual and not upsamples):
            raise ValueError("images, levels and residual are low_res, of upsamplers alone")
        if self.text_dim != (text.dim or None):
            raise ValueError(f"text_dim={self.text_dim}, and the text encoder has {text.dim}")
        if self.pooled_dim not in (None, text.pooled_dim):
            raise ValueError(f"pooled_dim={self.pooled_dim}, the encoder's is {text.pooled_dim}")
        if self.outputs != 1 + (noise.variance == "learned"):
            raise ValueError(f"outputs={self.outputs} with the variance {noise.variance}")
        if self.residual and self.outputs > 1:
            raise ValueError("residual goes with one prediction")


@dataclass(frozen=True, kw_only=True)
class Whitening(Schema):
    mean: list[Finite]
    std: list[Above]


@dataclass(frozen=True, kw_only=True)
class VaeLatent(Open):
    channels: Count
    whitening: Whitening


@dataclass(frozen=True, kw_only=True)
class UnetLatent(Open):
    channels: Count
    size: Pixels


@dataclass(frozen=True, kw_only=True)
class Transform(Open):
    profiles: Literal["convert", "ignore"]


@dataclass(frozen=True, kw_only=True)
class Earlier(Schema):
    """Pictures that a run saw before others took their place, after `pictures_seen`."""

    fingerprint: Words
    pictures_seen: PicturesSeen


@dataclass(frozen=True, kw_only=True)
class DataCard(Open):
    """`pictures`: how many; `validated_on`: the split that held-out figures are of. Older cards do
    not know."""

    fingerprint: Words
    pictures: Natural | None
    attribution: Words
    earlier: list[Earlier]
    validated_on: Literal["val", "train"] | None
    transform: Transform


@dataclass(frozen=True, kw_only=True)
class Parent(Open):
    """`path` leads from the child's folder to any other on the disk, as `from.vae=` may have named
    any. What it leads to is read as an artifact, with the same checks, and nothing else."""

    path: Annotated[str, Field(max_length=4096)]
    role: Literal["autoencoder"]
    sha256: Sha

    def __post_init__(self) -> None:
        if PurePath(self.path).is_absolute() or "\0" in self.path:
            raise ValueError(f"path={self.path!r} is not relative to the card's folder")


@dataclass(frozen=True, kw_only=True)
class Parents(Open):
    vae: Parent | None = None


NoParents = Annotated[dict[str, Any], Field(max_length=0)]


# --- the roles ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CardBase(Open):
    """What all cards say."""

    resolution: Pixels
    data: DataCard
    pictures_seen: PicturesSeen
    complete: bool
    ema: dict[str, Any]
    metrics: dict[Words, float]
    sha256: Sha


@dataclass(frozen=True, kw_only=True)
class AutoencoderCard(CardBase):
    role: Literal["autoencoder"]
    network: VaeShape
    factor: Count
    latent: VaeLatent
    space_id: Sha
    consumes: Literal["pictures"]
    produces: Literal["latents"]
    parents: NoParents

    def __post_init__(self) -> None:
        channels, whitening = self.network.channels, self.latent.whitening
        if {self.latent.channels, len(whitening.mean), len(whitening.std)} != {channels}:
            raise ValueError(f"latent: channels and whitening are not of {channels} channels")
        if self.factor != self.network.factor:
            raise ValueError(f"factor={self.factor}, and the network's is {self.network.factor}")


@dataclass(frozen=True, kw_only=True)
class PlainCard(AutoencoderCard):
    kind: Literal["ae", "kl"]
    network: ContinuousNetwork


@dataclass(frozen=True, kw_only=True)
class SparseCard(AutoencoderCard):
    kind: Literal["sparse"]
    network: SparseNetwork


@dataclass(frozen=True, kw_only=True)
class FsqCard(AutoencoderCard):
    kind: Literal["fsq"]
    network: FsqNetwork


@dataclass(frozen=True, kw_only=True)
class VqCard(AutoencoderCard):
    kind: Literal["vq"]
    network: VqNetwork


VaeCard = Annotated[PlainCard | SparseCard | FsqCard | VqCard, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True)
class DiffusionCard(CardBase):
    role: Literal["generator"]
    kind: Literal["diffusion"]
    network: UNetNetwork
    latent: UnetLatent
    space_id: Literal["pixels"] | Sha
    consumes: Literal["captions"]
    produces: Literal["pictures", "latents"]
    noise: AnyProcess
    text: TextCard
    parents: Parents

    def __post_init__(self) -> None:
        self.network.check(self.text, self.noise, upsamples=False)
        if self.latent.channels != self.network.channels:
            raise ValueError(f"latent.channels={self.latent.channels} is not the network's")
        if self.latent.size % self.network.factor:
            raise ValueError(f"latent.size={self.latent.size} does not fit the network")
        pixels = self.space_id == "pixels"
        if pixels and (self.latent.size, self.latent.channels) != (self.resolution, 3):
            raise ValueError("latent: pixels are 3 channels of the resolution")
        if (self.produces == "pictures", self.parents.vae is None) != (pixels, pixels):
            raise ValueError("produces, space_id and parents do not go together")


@dataclass(frozen=True, kw_only=True)
class UpsamplerCard(CardBase):
    role: Literal["upsampler"]
    kind: Literal["diffusion"]
    network: UNetNetwork
    factor: Annotated[int, Field(gt=1)]
    augmentation: Fraction
    sample_augmentation: Fraction
    consumes: Literal["pictures"]
    produces: Literal["pictures"]
    noise: AnyProcess
    text: TextCard
    parents: NoParents

    def __post_init__(self) -> None:
        self.network.check(self.text, self.noise, upsamples=True)
        if self.network.channels != 3:
            raise ValueError(f"network.channels={self.network.channels}: pictures have 3")
        if self.resolution % self.factor or self.resolution % self.network.factor:
            raise ValueError(f"resolution={self.resolution} does not fit factor and network")
        if self.sample_augmentation > self.augmentation:
            raise ValueError("sample_augmentation is above augmentation")


Card = Annotated[VaeCard | DiffusionCard | UpsamplerCard, Field(discriminator="role")]
