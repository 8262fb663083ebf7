"""What the stages share whose network learns to take noise away, told by captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from dmtool import text
from dmtool.config.stages import TrainUnet, TrainUpsampler
from dmtool.data.source import held_out
from dmtool.data.splits import Split
from dmtool.diffusion import denoise, network
from dmtool.text import TextEncoder
from dmtool.train.feed import Place
from dmtool.train.player import Player
from dmtool.train.stage import OnePlayer
from dmtool.train.stages.conditions import Captions, flat
from dmtool.train.stages.objective import Objective, uncertainty
from dmtool.train.stages.process import draw_times, process_card


class DenoisingStage(OnePlayer):
    """See `train.stage.Stage`.

    `arguments` are the network's, `positions` of the noisy state its height times its width, `bins`
    the distance between its values (None: continuous).
    """

    def __init__(
        self,
        config: TrainUnet | TrainUpsampler,
        device: torch.device,
        split: Mapping[Split, Dataset],
        encoder: TextEncoder,
        *,
        arguments: dict[str, Any],
        positions: int,
        bins: float | None,
    ) -> None:
        self.device, self.arguments = device, arguments
        self.network = network.build(arguments, encoder, uncertainty(config.noise))
        self.players = {"network": Player(self.network, config.optim, config.ema)}
        self.process = process_card(config.noise, positions)
        self.denoiser = denoise.build(self.network, self.process)
        self.objective = Objective(config.noise, self.process, bins)
        self.captions = Captions(split["train"]["caption"], encoder)
        self.captions.standardise(self.network)
        self.val_pictures = len(split["val"])
        self.held = held_out(self.val_pictures)

    @staticmethod
    def heard(
        config: TrainUnet | TrainUpsampler, device: torch.device, split: Mapping[Split, Dataset]
    ) -> TextEncoder:
        """The text encoder of a config, which may learn its vocabulary of the training captions."""
        return text.load(config.text, device, flat(split["train"]["caption"]))


class Times:
    """Training times, of numbers that belong to the examples."""

    def __init__(self, config: TrainUnet | TrainUpsampler, denoiser: denoise.Denoiser) -> None:
        self.config, self.schedule = config, denoiser.schedule

    def __call__(self, uniform: Tensor, places: Sequence[Place]) -> Tensor:
        """[B] in (0, 1), float64, from uniform numbers [B]."""
        times, batch_size = self.config.noise.times, self.config.batch_size
        return draw_times(times, self.schedule, uniform, places, batch_size)
