"""What a card says of the noise process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from dmtool.config.base import OneOf, Schema

Finite = Annotated[float, Field(allow_inf_nan=False)]
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class ProcessCard(Schema):
    """What all kinds share; `sigma_data` where the network's input is scaled, `variance` where one
    is learned."""

    prediction: Literal["eps", "v", "x0", "flow", "edm"]
    c_noise: Literal[
        "flow_time", "log_sigma", "ddpm_index", "sd_index", "ddpm_zero_index", "sd_zero_index"
    ]
    sigma_data: Above | None = None
    variance: Literal["fixed", "learned"] = "fixed"

    def __post_init__(self) -> None:
        if self.prediction == "edm" and self.sigma_data is None:
            raise ValueError("prediction=edm needs sigma_data")


@dataclass(frozen=True, kw_only=True)
class FlowCard(ProcessCard):
    kind: Literal["flow"]
    shift: Above = 1.0


@dataclass(frozen=True, kw_only=True)
class CosineCard(ProcessCard):
    kind: Literal["cosine"]


@dataclass(frozen=True, kw_only=True)
class SigmoidCard(ProcessCard):
    kind: Literal["sigmoid"]
    start: Finite
    end: Finite
    tau: Above

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < (self.end - self.start) / self.tau < 1000:
            raise ValueError(f"no sigmoid goes from {self.start} to {self.end} at {self.tau}")


@dataclass(frozen=True, kw_only=True)
class TableCard(ProcessCard):
    kind: Literal["ddpm", "scaled_linear"]
    zero_terminal_snr: bool = False


@dataclass(frozen=True, kw_only=True)
class VpSdeCard(ProcessCard):
    kind: Literal["vp_sde"]
    beta_min: Above
    beta_max: Above

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta_min >= self.beta_max:
            raise ValueError(f"beta_min={self.beta_min} is not below beta_max={self.beta_max}")


@dataclass(frozen=True, kw_only=True)
class EdmCard(ProcessCard):
    kind: Literal["edm"]
    sigma_min: Above
    sigma_max: Above
    rho: Above

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma_data is None:
            raise ValueError("kind=edm needs sigma_data")
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min={self.sigma_min} is not below sigma_max={self.sigma_max}")


AnyProcess = Annotated[FlowCard | CosineCard | SigmoidCard | TableCard | VpSdeCard | EdmCard, OneOf]
