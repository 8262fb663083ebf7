"""What the configs of all stages' training share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dmtool.config.base import Count, Listed, Location, Name, Natural, Positive, Schema
from dmtool.config.cadence import Every, Keep, Limit
from dmtool.config.ema import Ema
from dmtool.config.held_out import EVALUATED, Evaluate, Figures
from dmtool.config.optim import Optim
from dmtool.config.parts import Data
from dmtool.config.runtime import Machine


@dataclass(frozen=True, kw_only=True)
class Compute(Schema):
    """How a step is computed; see `train/compute.py`."""

    checkpointing: bool
    channels_last: bool
    compile: bool


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
