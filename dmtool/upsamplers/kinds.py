"""The upsampler that an artifact holds, by the kind that its card names."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dmtool.config.sampling import Sampler
from dmtool.runs import Artifact
from dmtool.upsamplers import diffusion
from dmtool.upsamplers.upsampler import Upsampler

KINDS: dict[str, Callable[[Artifact, float | None, Sampler, torch.device], Upsampler]] = {
    "diffusion": diffusion.load
}


def load(
    artifact: Artifact, augmentation: float | None, sampler: Sampler, device: torch.device
) -> Upsampler:
    """UserError if it is damaged, or was not trained for so much `augmentation`; None: its own."""
    return KINDS[artifact.card["kind"]](artifact, augmentation, sampler, device)
