"""The loss of a denoising stage: of the noise process as it is configured, and of its network."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from dmtool.cond import Cond
from dmtool.config.noise import LearnedVariance, LearnedWeighting, Noise
from dmtool.diffusion import denoise, weighting
from dmtool.diffusion.likelihood import step_bound
from dmtool.diffusion.network import NoisePredictor
from dmtool.diffusion.noise import T, c_noise, log_snr
from dmtool.nn.uncertainty import Uncertainty
from dmtool.train.parallel import unwrapped
from dmtool.train.stage import Losses
from dmtool.train.stages.process import by_level


def outputs(config: Noise) -> int:
    """How many predictions the network makes: that of a learned variance is the second."""
    return 2 if isinstance(config.variance, LearnedVariance) else 1


def uncertainty(config: Noise) -> Uncertainty | None:
    """What a learned weighting trains beside the network."""
    chosen = config.weighting
    return Uncertainty(chosen.channels) if isinstance(chosen, LearnedWeighting) else None


class Objective:
    """Figures of a batch: `loss`, which is minimised, and the error by noise level.

    The loss is the weighted error of the prediction. With a learned weighting it is
    error / exp(u) + u of the level's uncertainty u (EDM2, arXiv:2312.02696, eq. 16), and may be
    below 0. With a learned variance `vlb` times the variational bound, in bits per dimension, is
    added, whose gradient leaves the prediction alone (Nichol & Dhariwal, arXiv:2102.09672, eq. 16).
    """

    def __init__(self, config: Noise, process: dict[str, Any], bins: float | None) -> None:
        """`process` is the card's; `bins` the distance between a picture's values, None for
        latents."""
        self.config, self.process, self.bins = config, process, bins
        self.weight = weighting.build(config.weighting)

    def __call__(self, model: nn.Module, x_0: Tensor, eps: Tensor, t: Tensor, cond: Cond) -> Losses:
        """Pictures and their noise [B, ...] at times t [B] (on the CPU)."""
        denoiser = denoise.build(model, self.process)
        found = denoiser.compare(x_0, eps, t, cond, self.weight)
        loss = found.error
        if isinstance(self.config.weighting, LearnedWeighting):
            u = self._uncertainty(model, denoiser, t, loss.device)
            loss = loss / u.exp() + u
        if isinstance(self.config.variance, LearnedVariance):
            bound = step_bound(denoiser.schedule, x_0, t, found.estimate, self.bins)
            loss = loss + self.config.variance.vlb * T * bound
        return Losses(loss.mean(), by_level(found.error, t))

    def _uncertainty(
        self, model: nn.Module, denoiser: denoise.Denoiser, t: Tensor, device: torch.device
    ) -> Tensor:
        """u [B]. It is asked after the network, whose call has gathered what is in shards."""
        level = c_noise("flow_time", log_snr(*denoiser.schedule(t.double())))
        learned = cast(NoisePredictor, unwrapped(model)).uncertainty
        assert learned is not None
        return cast(Tensor, learned(level.to(device, torch.float32)))
