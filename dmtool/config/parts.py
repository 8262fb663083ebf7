"""The parts that configs are put together from: data, text, networks, samplers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dmtool.config.base import Channel, Count, Fraction, Location, Name, Natural, OneOf, Schema
from dmtool.config.kinds import Kinds

# --- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DataBase(Schema):
    """What all sources share; see `conf/data/_common.yaml`."""

    background: tuple[Channel, Channel, Channel]
    profiles: Literal["convert", "ignore"]
    crop: Literal["center", "random"]
    flip: bool
    max_bad: Fraction
    max_pixels: Count
    val: Fraction
    test: Fraction
    workers: Natural
    memory_mb: Natural
    kind: str

    def __post_init__(self) -> None:
        if self.val + self.test >= 1:
            raise ValueError(f"val + test = {self.val + self.test} leaves nothing to train on")


@dataclass(frozen=True, kw_only=True)
class EmojiData(DataBase):
    kind: Literal["emoji"]
    size: Count


@dataclass(frozen=True, kw_only=True)
class ShapesData(DataBase):
    """Drawn shapes; `hold_out`: pairs as "red circle" that the test split alone shows."""

    kind: Literal["shapes"]
    size: Annotated[int, Field(ge=16)]
    count: Count
    seed: int
    min_objects: Annotated[int, Field(ge=1, le=3)]
    max_objects: Annotated[int, Field(ge=1, le=3)]
    hold_out: list[Name]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_objects > self.max_objects:
            raise ValueError(
                f"min_objects={self.min_objects} is more than max_objects={self.max_objects}"
            )


@dataclass(frozen=True, kw_only=True)
class FolderData(DataBase):
    """Your own pictures; `splits`: of folders that are called so, or of a hash of their keys."""

    kind: Literal["folder"]
    path: Location
    splits: Literal["folders", "hash"]


@dataclass(frozen=True, kw_only=True)
class DataPlace(Schema):
    """Where a run's folder of pictures stands now; null: in the cache, or where it stood."""

    path: Location | None


Data = Annotated[DataBase, Kinds("data", EmojiData, ShapesData, FolderData)]


# --- text -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MiniLMText(Schema):
    """The packaged all-MiniLM-L6-v2, frozen; `layers` are concatenated, -1 is the last.

    `normalised`: its pooled vector is brought to length 1.
    """

    normalised: ClassVar[bool] = True
    dtype: ClassVar[str] = "fp32"
    padding: ClassVar[str] = "masked"

    kind: Literal["minilm"]
    layers: list[int]
    max_length: Count


@dataclass(frozen=True, kw_only=True)
class HFText(Schema):
    """A frozen CLIP text model, T5 encoder or BERT-like encoder from a folder or a hub name.

    `dtype` is what it computes in. `padding`: `native` has CLIP's padding heard like text, as in
    Stable Diffusion; masked is that of all others, and of CLIP with `masked`.
    """

    normalised: ClassVar[bool] = False

    kind: Literal["hf"]
    name: Location
    layers: list[int]
    max_length: Count
    dtype: Literal["fp32", "bf16", "fp16"]
    padding: Literal["masked", "native"]


@dataclass(frozen=True, kw_only=True)
class ScratchText(Schema):
    """A transformer encoder trained together with the noise predictor."""

    kind: Literal["scratch"]
    tokenizer: Literal["bytes", "bpe"]
    vocabulary: Count
    width: Count
    depth: Count
    heads: Count
    max_length: Count

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width={self.width} is not divisible by heads={self.heads}")


@dataclass(frozen=True, kw_only=True)
class NoText(Schema):
    kind: Literal["none"]


Text = Annotated[MiniLMText | HFText | ScratchText | NoText, OneOf]


# --- networks -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class UNetShape(Schema):
    """What is chosen of a U-Net, and stands in its card; one entry of each list a level."""

    patch: Count
    widths: Annotated[list[Count], Field(min_length=1)]
    blocks: list[Count]
    depths: list[Natural]
    middle_depth: Natural
    heads: Count
    groups: Count
    modulation: Literal["add", "scale_shift"]
    gate: Literal["gelu", "silu"]
    text_width: Count | None
    dropout: Annotated[float, Field(ge=0, lt=1)]

    def __post_init__(self) -> None:
        for name, values in {"blocks": self.blocks, "depths": self.depths}.items():
            if len(values) != len(self.widths):
                raise ValueError(
                    f"{name} has {len(values)} entries for {len(self.widths)} widths (one a level)"
                )
        divisible("widths", self.widths, "groups", self.groups)
        divisible("widths", self.widths, "heads", self.heads)

    @property
    def factor(self) -> int:
        return int(self.patch * 2 ** (len(self.widths) - 1))


@dataclass(frozen=True, kw_only=True)
class UNet(UNetShape):
    """A text-conditional U-Net of the Stable Diffusion family."""

    kind: Literal["unet"]
    pooled: bool


def divisible(name: str, values: list[int], by_name: str, by: int) -> None:
    for value in values:
        if value % by:
            raise ValueError(f"{name}={values}: {value} is not divisible by {by_name}={by}")
