"""The noise process: the schedule, what the network predicts, and how it is trained on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dmtool.config.base import Count, OneOf, Positive, Schema, by_group

# --- the density of times in training -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TimesBase(Schema):
    """`stratified`: one time in each stratum of the global batch."""

    stratified: bool


@dataclass(frozen=True, kw_only=True)
class UniformTimes(TimesBase):
    kind: Literal["uniform"]


@dataclass(frozen=True, kw_only=True)
class LogitNormalTimes(TimesBase):
    """The sigmoid of a normal(mean, std)."""

    kind: Literal["logit_normal"]
    mean: float
    std: Positive


@dataclass(frozen=True, kw_only=True)
class ModeTimes(TimesBase):
    """Mode sampling with heavy tails; the upper bound is where times would run back."""

    kind: Literal["mode"]
    scale: Annotated[float, Field(ge=-1, le=2 / (math.pi - 2))]


@dataclass(frozen=True, kw_only=True)
class LogNormalTimes(TimesBase):
    """ln(sigma / alpha) is normal(mean, std)."""

    kind: Literal["log_normal"]
    mean: float
    std: Positive


Times = Annotated[UniformTimes | LogitNormalTimes | ModeTimes | LogNormalTimes, OneOf]

# --- the loss's weighting; see `diffusion/weighting.py` -------------------------------------------


@dataclass(frozen=True, kw_only=True)
class UniformWeighting(Schema):
    kind: Literal["uniform"]


@dataclass(frozen=True, kw_only=True)
class MinSnrWeighting(Schema):
    kind: Literal["min_snr"]
    gamma: Positive


@dataclass(frozen=True, kw_only=True)
class P2Weighting(Schema):
    kind: Literal["p2"]
    gamma: Positive
    k: Positive


@dataclass(frozen=True, kw_only=True)
class EdmWeighting(Schema):
    kind: Literal["edm"]
    sigma_data: Positive


@dataclass(frozen=True, kw_only=True)
class SigmoidWeighting(Schema):
    kind: Literal["sigmoid"]
    bias: float


@dataclass(frozen=True, kw_only=True)
class LearnedWeighting(Schema):
    """The error of what the network predicts, by a learned uncertainty that hears the noise level
    in `channels` waves."""

    kind: Literal["learned"]
    channels: Annotated[int, Field(gt=0, multiple_of=2)]


Weighting = Annotated[
    UniformWeighting
    | MinSnrWeighting
    | P2Weighting
    | EdmWeighting
    | SigmoidWeighting
    | LearnedWeighting,
    OneOf,
]

# --- the variance of a step -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FixedVariance(Schema):
    kind: Literal["fixed"]


@dataclass(frozen=True, kw_only=True)
class LearnedVariance(Schema):
    """The network says it too; `vlb` weighs the variational bound in the loss that it is learned
    by, see `train/stages/objective.py`."""

    kind: Literal["learned"]
    vlb: Positive


Variance = Annotated[FixedVariance | LearnedVariance, OneOf, by_group("noise/variance")]

# --- a flow's shift -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FixedShift(Schema):
    kind: Literal["fixed"]
    value: Positive


@dataclass(frozen=True, kw_only=True)
class SqrtShift(Schema):
    """`value` at `positions` of the noisy state (height times width), by their square root."""

    kind: Literal["sqrt"]
    value: Positive
    positions: Count


@dataclass(frozen=True, kw_only=True)
class ExponentialShift(Schema):
    """exp(mu), mu linear in the positions of the noisy state (height times width)."""

    kind: Literal["exponential"]
    positions: tuple[Count, Count]
    mu: tuple[float, float]

    def __post_init__(self) -> None:
        if self.positions[0] == self.positions[1]:
            raise ValueError(f"positions={list(self.positions)} are not two points of a line")


Shift = Annotated[FixedShift | SqrtShift | ExponentialShift, OneOf]

# --- the process ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NoiseBase(Schema):
    """What all kinds share. `sigma_data`, the data's standard deviation, is of EDM's prediction and
    of variance-exploding schedules, whose network sees x_t scaled to variance 1."""

    exploding: ClassVar[bool] = False
    preserving: ClassVar[bool] = True

    kind: str
    prediction: Literal["eps", "v", "x0", "flow", "edm"]
    sigma_data: Positive | None
    c_noise: Literal[
        "flow_time", "log_sigma", "ddpm_index", "sd_index", "ddpm_zero_index", "sd_zero_index"
    ]
    times: Times
    weighting: Weighting
    variance: Variance

    @property
    def reaches_zero(self) -> bool:
        """Whether alpha is 0 at the end."""
        return False

    def __post_init__(self) -> None:
        if self.prediction == "eps" and self.reaches_zero:
            raise ValueError(
                f"prediction=eps says nothing of the picture at the end of kind={self.kind}, where "
                "alpha is 0: take prediction v, x0 or flow, or kind ddpm or scaled_linear as it is"
            )
        scaled = self.exploding or self.prediction == "edm"
        if scaled and self.sigma_data is None:
            raise ValueError(
                f"kind={self.kind} with prediction={self.prediction} needs sigma_data=, the data's "
                "standard deviation: 1 for an autoencoder's latents, about 0.5 for pixels"
            )
        if not scaled and self.sigma_data is not None:
            raise ValueError("sigma_data is of prediction=edm and kind=edm: leave it null")
        if isinstance(self.variance, LearnedVariance) and not self.preserving:
            raise ValueError(
                f"variance=learned is of variance-preserving noise, which kind={self.kind} is not: "
                "take noise=cosine, sigmoid, ddpm, scaled_linear or vp_sde, or leave the variance "
                "fixed"
            )


@dataclass(frozen=True, kw_only=True)
class FlowNoise(NoiseBase):
    preserving: ClassVar[bool] = False

    kind: Literal["flow"]
    shift: Shift

    @property
    def reaches_zero(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class CosineNoise(NoiseBase):
    kind: Literal["cosine"]

    @property
    def reaches_zero(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class SigmoidNoise(NoiseBase):
    kind: Literal["sigmoid"]
    start: float
    end: float
    tau: Positive

    @property
    def reaches_zero(self) -> bool:
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start >= self.end:
            raise ValueError(f"start={self.start} is not below end={self.end}")


@dataclass(frozen=True, kw_only=True)
class TableNoise(NoiseBase):
    """The discrete models; `zero_terminal_snr` rescales them to end in pure noise."""

    kind: Literal["ddpm", "scaled_linear"]
    zero_terminal_snr: bool

    @property
    def reaches_zero(self) -> bool:
        return self.zero_terminal_snr

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.zero_terminal_snr and self.c_noise in ("ddpm_index", "sd_index"):
            zero = self.c_noise.replace("index", "zero_index")
            raise ValueError(
                f"c_noise={self.c_noise} ends before the noise of zero_terminal_snr does, and "
                f"tells its last levels not apart: take c_noise={zero}"
            )


@dataclass(frozen=True, kw_only=True)
class VpSdeNoise(NoiseBase):
    kind: Literal["vp_sde"]
    beta_min: Positive
    beta_max: Positive

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta_min >= self.beta_max:
            raise ValueError(f"beta_min={self.beta_min} is not below beta_max={self.beta_max}")


@dataclass(frozen=True, kw_only=True)
class EdmNoise(NoiseBase):
    """Variance exploding, on Karras' path of exponent `rho`."""

    exploding: ClassVar[bool] = True
    preserving: ClassVar[bool] = False

    kind: Literal["edm"]
    sigma_min: Positive
    sigma_max: Positive
    rho: Positive

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min={self.sigma_min} is not below sigma_max={self.sigma_max}")


Noise = Annotated[
    FlowNoise | CosineNoise | SigmoidNoise | TableNoise | VpSdeNoise | EdmNoise, OneOf
]
