"""The schemas of every configuration: names, types and checks. The values stand in `conf/`.

Hydra composes YAML into a `DictConfig`; `validate` (in `dmtool/config.py`) turns it into one of
these dataclasses or says in one line which key is wrong and what was probably meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Channel = Annotated[int, Field(ge=0, le=255)]
OneOf = Field(discriminator="kind")
From = Field(alias="from")  # a word that Python keeps for itself


class Schema:
    """Base of all schemas: an unknown key is an error."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


# --- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DataBase(Schema):
    """What all sources share; see `conf/data/_common.yaml`."""

    background: tuple[Channel, Channel, Channel]
    crop: Literal["center", "random"]
    flip: bool
    max_bad: Fraction
    max_pixels: Count
    val: Fraction
    test: Fraction
    workers: Natural
    memory_mb: Natural

    def __post_init__(self) -> None:
        if self.val + self.test >= 1:
            raise ValueError(f"val + test = {self.val + self.test} leaves nothing to train on")


@dataclass(frozen=True, kw_only=True)
class EmojiData(DataBase):
    kind: Literal["emoji"]
    size: Count


@dataclass(frozen=True, kw_only=True)
class ShapesData(DataBase):
    kind: Literal["shapes"]
    size: Annotated[int, Field(ge=16)]
    count: Count
    seed: int
    min_objects: Annotated[int, Field(ge=1, le=3)]
    max_objects: Annotated[int, Field(ge=1, le=3)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_objects > self.max_objects:
            raise ValueError(
                f"min_objects={self.min_objects} is more than max_objects={self.max_objects}"
            )


@dataclass(frozen=True, kw_only=True)
class FolderData(DataBase):
    kind: Literal["folder"]
    path: str


Data = Annotated[EmojiData | ShapesData | FolderData, OneOf]


# --- text -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MiniLMText(Schema):
    """The packaged all-MiniLM-L6-v2, frozen; `layers` are concatenated, -1 is the last."""

    kind: Literal["minilm"]
    layers: list[int]
    max_length: Count


@dataclass(frozen=True, kw_only=True)
class HFText(Schema):
    """A frozen CLIP text model, T5 encoder or BERT-like encoder from a folder or a hub name."""

    kind: Literal["hf"]
    name: str
    layers: list[int]
    max_length: Count


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
class Vae(Schema):
    """A KL autoencoder. It makes the picture smaller by patch * 2 ** (len(widths) - 1)."""

    kind: Literal["kl"]
    patch: Count
    widths: Annotated[list[Count], Field(min_length=1)]
    encoder_blocks: Count
    decoder_blocks: Count
    middle: bool
    latent_channels: Count
    groups: Count

    def __post_init__(self) -> None:
        _divisible("vae.widths", self.widths, "vae.groups", self.groups)

    @property
    def factor(self) -> int:
        return int(self.patch * 2 ** (len(self.widths) - 1))


@dataclass(frozen=True, kw_only=True)
class UNet(Schema):
    """A text-conditional U-Net of the Stable Diffusion family; one entry of each list a level."""

    kind: Literal["unet"]
    patch: Count
    widths: Annotated[list[Count], Field(min_length=1)]
    blocks: list[Count]
    depths: list[Natural]
    middle_depth: Natural
    heads: Count
    groups: Count
    modulation: Literal["add", "scale_shift"]
    pooled: bool
    text_width: Count | None
    dropout: Annotated[float, Field(ge=0, lt=1)]

    def __post_init__(self) -> None:
        for name, values in {"blocks": self.blocks, "depths": self.depths}.items():
            if len(values) != len(self.widths):
                raise ValueError(
                    f"{name} has {len(values)} entries for {len(self.widths)} widths (one a level)"
                )
        _divisible("widths", self.widths, "groups", self.groups)
        _divisible("widths", self.widths, "heads", self.heads)

    @property
    def factor(self) -> int:
        return int(self.patch * 2 ** (len(self.widths) - 1))


def _divisible(name: str, values: list[int], by_name: str, by: int) -> None:
    for value in values:
        if value % by:
            raise ValueError(f"{name}={values}: {value} is not divisible by {by_name}={by}")


# --- the noise process ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Times(Schema):
    """The density of times in training: uniform, or sigmoid of a normal(mean, std)."""

    kind: Literal["uniform", "logit_normal"]
    mean: float
    std: Positive
    stratified: bool


@dataclass(frozen=True, kw_only=True)
class Weighting(Schema):
    kind: Literal["uniform", "min_snr"]
    gamma: Positive


@dataclass(frozen=True, kw_only=True)
class Noise(Schema):
    """The schedule, what the network predicts, how its loss is weighted, how it hears the time."""

    kind: Literal["flow", "ddpm", "scaled_linear", "cosine"]
    prediction: Literal["eps", "v", "x0", "flow"]
    c_noise: Literal["flow_time", "log_sigma", "ddpm_index", "sd_index"]
    times: Times
    weighting: Weighting

    def __post_init__(self) -> None:
        if self.prediction == "eps" and self.kind in ("flow", "cosine"):
            raise ValueError(
                f"prediction=eps says nothing of the picture at the end of kind={self.kind}, where "
                "alpha is 0: take prediction v, x0 or flow, or kind ddpm or scaled_linear"
            )


# --- sampling -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sampler(Schema):
    """`steps` is the number of intervals; `eta` speaks to ddim, `variance` to ddpm."""

    kind: Literal["ddpm", "ddim", "euler", "heun", "dpmpp_2m"]
    steps: Count
    grid: Literal["uniform", "log_snr"]
    eta: Fraction
    variance: Literal["small", "large"]


@dataclass(frozen=True, kw_only=True)
class Guidance(Schema):
    """Classifier-free guidance; 1 is the plain conditional model."""

    scale: float


# --- training -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Optim(Schema):
    """`muon` orthogonalises the hidden matrices' steps; all else is stepped by AdamW."""

    kind: Literal["adamw", "muon"]
    lr: Positive
    muon_lr: Positive
    betas: tuple[Fraction, Fraction]
    eps: Positive
    weight_decay: NonNegative
    clip: Positive
    schedule: Literal["constant", "cosine", "linear"]
    warmup: Natural
    final: Fraction


@dataclass(frozen=True, kw_only=True)
class Ema(Schema):
    """Power-function average of relative width `sigma_rel` (EDM2, arXiv:2312.02696); 0 is none."""

    sigma_rel: Annotated[float, Field(ge=0, lt=0.28)]


@dataclass(frozen=True, kw_only=True)
class Limit(Schema):
    """Training ends at whichever comes first; `null` is no limit."""

    pictures: Count | None
    minutes: Positive | None

    def __post_init__(self) -> None:
        if self.pictures is None and self.minutes is None:
            raise ValueError("set limit.pictures or limit.minutes: training needs an end")


@dataclass(frozen=True, kw_only=True)
class Every(Schema):
    """Cadences, in pictures seen."""

    log: Count
    validate: Count
    preview: Count
    checkpoint: Count


@dataclass(frozen=True, kw_only=True)
class Wandb(Schema):
    mode: Literal["disabled", "offline", "online"]
    project: str


@dataclass(frozen=True, kw_only=True)
class Machine(Schema):
    """Where runs stand and what computes."""

    run: Annotated[str, Field(pattern=r"^[^\s]+$")]
    root: str
    device: str
    dtype: Literal["auto", "fp32", "bf16", "fp16"]
    seed: Natural


@dataclass(frozen=True, kw_only=True)
class Train(Machine):
    """What the three stages share."""

    data: Data
    resolution: Count | None
    batch_size: Count
    accumulation: Count
    limit: Limit
    optim: Optim
    ema: Ema
    every: Every
    keep: Count
    held_out: Count
    init: str | None
    wandb: Wandb

    def __post_init__(self) -> None:
        if "/" in self.run:
            raise ValueError(f"run={self.run} is a path; give a name, and the directory as root=")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size={self.batch_size} is not divisible by accumulation={self.accumulation}"
            )


@dataclass(frozen=True, kw_only=True)
class VaeLoss(Schema):
    """The reconstruction's error, and the weight of the KL term (both per picture value)."""

    reconstruction: Literal["l1", "l2", "charbonnier"]
    kl: NonNegative


@dataclass(frozen=True, kw_only=True)
class TrainVae(Train):
    resolution: Annotated[int, Field(ge=11)]  # SSIM's window
    vae: Vae
    loss: VaeLoss

    def __post_init__(self) -> None:
        super().__post_init__()
        _fits(self.resolution, self.vae.factor, "vae")


@dataclass(frozen=True, kw_only=True)
class FromVae(Schema):
    vae: str | None


@dataclass(frozen=True, kw_only=True)
class Preview(Schema):
    prompts: list[str]
    seed: Natural


@dataclass(frozen=True, kw_only=True)
class TrainUnet(Train):
    codec: Literal["vae", "pixels"]
    from_: Annotated[FromVae, From]
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


@dataclass(frozen=True, kw_only=True)
class TrainUpsampler(Train):
    """`augmentation` is the largest noise time that the small picture is corrupted to."""

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


def _fits(size: int, factor: int, what: str) -> None:
    if size % factor:
        raise ValueError(
            f"a size of {size} pixels is not divisible by {factor}, which {what} needs"
        )


# --- using ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Upsample(Schema):
    """`use`: auto takes the run's upsampler, if any; `augmentation`: null is its own default."""

    use: Literal["auto", "always", "never"]
    augmentation: Fraction | None
    sampler: Sampler


@dataclass(frozen=True, kw_only=True)
class FromUse(Schema):
    unet: str | None
    upsampler: str | None


@dataclass(frozen=True, kw_only=True)
class Use(Machine):
    """What all commands that sample share."""

    from_: Annotated[FromUse, From]
    artifact: str
    sampler: Sampler
    guidance: Guidance
    upsample: Upsample
    batch_size: Count


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
class HasData(Schema):
    """The data section alone, as `dmtool data` takes it."""

    data: Data
