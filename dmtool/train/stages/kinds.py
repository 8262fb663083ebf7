"""The stages of a chain: one table of what each is made by, from its config's schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dmtool.config.stages import TrainUnet, TrainUpsampler, TrainVae
from dmtool.config.training import Train
from dmtool.data.source import Source
from dmtool.runs import Artifact
from dmtool.train import loop, start
from dmtool.train.stage import Stage
from dmtool.train.stages.unet import UnetStage, autoencoder
from dmtool.train.stages.upsampler import UpsamplerStage
from dmtool.train.stages.vae import VaeStage


@dataclass(frozen=True)
class Kind:
    """`build` makes a stage of its config, a device and the pictures; `parent` finds the artifact
    that it is trained on, if it is on one, or raises UserError."""

    build: Callable[[Any, torch.device, Source], Stage]
    parent: Callable[[Any], Artifact | None] = lambda _: None


KINDS: dict[type[Train], Kind] = {
    TrainVae: Kind(VaeStage),
    TrainUnet: Kind(UnetStage, autoencoder),
    TrainUpsampler: Kind(UpsamplerStage),
}


def train(config: Train) -> None:
    """Train the stage that a config is of."""
    kind = KINDS[type(config)]
    start.train(config, kind.build, kind.parent, loop.trainer)
