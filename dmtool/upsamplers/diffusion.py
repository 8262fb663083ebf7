"""Upsamplers that denoise, told by the enlarged small picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from dmtool.config.sampling import Sampler
from dmtool.device import sent
from dmtool.diffusion.denoise import Denoiser, expand
from dmtool.diffusion.network import NoisePredictor, condition
from dmtool.diffusion.noise import c_noise, log_snr
from dmtool.diffusion.samplers import Known, Source, last, picture_noise
from dmtool.diffusion.sampling import settled, thresholded, trajectory
from dmtool.diffusion.trained import load_denoiser
from dmtool.errors import UserError
from dmtool.nn.precision import widened
from dmtool.runs import Artifact
from dmtool.text import TextEncoder
from dmtool.text.blend import Prompt
from dmtool.text.encoder import Wrap
from dmtool.upsamplers.upsampler import enlarge


def augmented(denoiser: Denoiser, low: Tensor, eps: Tensor, t: Tensor) -> dict[str, Tensor]:
    """The enlarged picture [B, 3, H, W], diffused to times t [B] (on the CPU), and its level.

    Noise-conditioning augmentation (Ho et al., arXiv:2106.15282, section 4.2): the upsampler
    learns not to trust its input's details, and is told by `low_res_level` how much to.
    """
    alpha, sigma = denoiser.schedule(t.double())
    level = c_noise(denoiser.hears, log_snr(alpha, sigma))
    noised = expand(alpha, low) * low + expand(sigma, low) * eps
    return {"low_res": noised, "low_res_level": sent(level, low.device, widened(noised.dtype))}


@dataclass
class DiffusionUpsampler:
    """See `upsampler.Upsampler`; `level` is the noise time that small pictures are corrupted to."""

    denoiser: Denoiser
    text: TextEncoder
    factor: int
    level: float
    sampler: Sampler

    kind: ClassVar[str] = "diffusion"

    def __post_init__(self) -> None:
        self.sampler = settled(self.sampler, pictures=True)

    @property
    def multiple(self) -> int:
        assert isinstance(self.denoiser.network, NoisePredictor)
        return max(1, self.denoiser.network.unet.factor // self.factor)

    def __call__(
        self,
        small: Tensor,
        prompts: Sequence[Prompt],
        sources: Sequence[Source],
        given: Known | None = None,
    ) -> Tensor:
        device = small.device
        cond = condition(self.denoiser.network, self.text, prompts, device)
        cond = cond.with_extras(**self._low_resolution(small, sources))
        shape = (3, small.shape[2] * self.factor, small.shape[3] * self.factor)
        how = (self.sampler, "upsample", device, given)
        denoiser = thresholded(self.denoiser, self.sampler)
        return last(trajectory(denoiser, cond, shape, sources, *how)).clamp(-1, 1)

    def settings(self) -> dict[str, Any]:
        return {
            "augmentation": self.level,
            "sampler": asdict(self.sampler),
            "steps": self.sampler.intervals,
            "calls": self.sampler.calls_made,
        }

    def hearing(self, wrap: Wrap) -> DiffusionUpsampler:
        return replace(self, text=wrap(self.text, self.denoiser.network))

    def _low_resolution(self, small: Tensor, sources: Sequence[Source]) -> dict[str, Tensor]:
        low = enlarge(small, self.factor)
        eps = picture_noise(sources, "augment")(low)
        t = torch.full((len(small),), self.level, dtype=torch.float64)
        return augmented(self.denoiser, low, eps, t)


def load(
    artifact: Artifact, augmentation: float | None, sampler: Sampler, device: torch.device
) -> DiffusionUpsampler:
    """The upsampler of an artifact; `augmentation`: None is its own."""
    denoiser, encoder = load_denoiser(artifact, device)
    level = artifact.card["sample_augmentation"] if augmentation is None else augmentation
    if level > artifact.card["augmentation"]:
        raise UserError(
            f"an augmentation of {level} is above {artifact.card['augmentation']}, the most "
            f"that {artifact.path} was trained with"
        )
    return DiffusionUpsampler(denoiser, encoder, artifact.card["factor"], level, sampler)
