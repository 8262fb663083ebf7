"""A trained upsampler as it is used: small pictures -> large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dmtool.config.sampling import Sampler
from dmtool.data.transforms import to_tensor, to_uint8
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


def shrink(large: Tensor, factor: int) -> Tensor:
    """The small picture of a large one: antialiased bicubic, rounded to 8 bit like a file.

    [B, 3, H, W] -> [B, 3, H / factor, W / factor], in [-1, 1].
    """
    size = (large.shape[2] // factor, large.shape[3] // factor)
    small = interpolate(large, size=size, mode="bicubic", antialias=True)
    return to_tensor(to_uint8(small))


def enlarge(small: Tensor, factor: int) -> Tensor:
    """Bicubic enlargement of [B, 3, h, w], clamped to [-1, 1]."""
    size = (small.shape[2] * factor, small.shape[3] * factor)
    large = interpolate(small, size, mode="bicubic", antialias=True)  # the usual kernel, a = -0.5
    return large.clamp(-1, 1)


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
class Upsampler:
    """Pictures [B, 3, h, w] -> [B, 3, factor h, factor w], in [-1, 1].

    `level` is the noise time that the small picture is corrupted to.
    """

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
        """The sides of small pictures must be divisible by it."""
        assert isinstance(self.denoiser.network, NoisePredictor)
        return max(1, self.denoiser.network.unet.factor // self.factor)

    def __call__(
        self,
        small: Tensor,
        prompts: Sequence[Prompt],
        sources: Sequence[Source],
        given: Known | None = None,
    ) -> Tensor:
        """`given`: a picture of the large size that is known in part."""
        device = small.device
        cond = condition(self.denoiser.network, self.text, prompts, device)
        cond = cond.with_extras(**self._low_resolution(small, sources))
        shape = (3, small.shape[2] * self.factor, small.shape[3] * self.factor)
        how = (self.sampler, "upsample", device, given)
        denoiser = thresholded(self.denoiser, self.sampler)
        return last(trajectory(denoiser, cond, shape, sources, *how)).clamp(-1, 1)

    def _low_resolution(self, small: Tensor, sources: Sequence[Source]) -> dict[str, Tensor]:
        low = enlarge(small, self.factor)
        eps = picture_noise(sources, "augment")(low)
        t = torch.full((len(small),), self.level, dtype=torch.float64)
        return augmented(self.denoiser, low, eps, t)


def load(
    artifact: Artifact, augmentation: float | None, sampler: Sampler, device: torch.device
) -> Upsampler:
    """The upsampler of an artifact; `augmentation`: None is its own."""
    denoiser, encoder = load_denoiser(artifact, device)
    level = artifact.card["sample_augmentation"] if augmentation is None else augmentation
    if level > artifact.card["augmentation"]:
        raise UserError(
            f"an augmentation of {level} is above {artifact.card['augmentation']}, the most "
            f"that {artifact.path} was trained with"
        )
    return Upsampler(denoiser, encoder, artifact.card["factor"], level, sampler)
