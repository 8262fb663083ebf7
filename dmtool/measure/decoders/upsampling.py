"""`dmtool eval-upsampler`: an upsampler's pictures, and two filters', beside real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dmtool.config.evaluating import EvalUpsampler
from dmtool.config.stages import TrainUpsampler
from dmtool.data.quality import psnr
from dmtool.data.transforms import to_image, to_pixels, to_tensor, to_uint8
from dmtool.device import autocast, pick_dtype
from dmtool.diffusion.samplers import Key
from dmtool.measure.decoders import decoders
from dmtool.measure.decoders.pairs import Results
from dmtool.runs import Artifact
from dmtool.upsamplers import kinds
from dmtool.upsamplers.upsampler import enlarge, shrink

Enlarge = Callable[[Tensor, Sequence[str], Sequence[Key]], Tensor]
"""Pictures [B, 3, h, w] in [-1, 1], prompts and keys -> [B, 3, factor h, factor w]."""


@dataclass(frozen=True)
class Enlargement:
    """See `decoders.Decoder`. The small pictures are those of the training, `upsampler.shrink`.

    `consistency` is the PSNR of the small picture against the large one made small again.
    """

    enlarge: Enlarge
    factor: int
    resolution: int
    seed: int
    device: torch.device
    dtype: torch.dtype
    how: dict[str, Any]
    prefix: str = ""

    @torch.inference_mode()
    def __call__(self, real: Tensor, prompts: Sequence[str], rows: Sequence[int]) -> Results:
        small = shrink(to_tensor(real.to(self.device)), self.factor)
        with autocast(self.device, self.dtype):
            large = self.enlarge(small, prompts, [(self.seed, row) for row in rows])
        low = to_uint8(small).cpu()
        made = {
            "upsampler": to_uint8(large).cpu(),
            "bicubic": to_uint8(enlarge(small, self.factor)).cpu(),
            "lanczos": lanczos(low, self.factor),
        }
        again = {name: to_uint8(shrink(to_tensor(x), self.factor)) for name, x in made.items()}
        return Results(made, {name: {"consistency": psnr(low, x)} for name, x in again.items()})

    def settings(self) -> dict[str, Any]:
        kernel = "bicubic, antialiased, rounded to 8 bit"
        dtype = str(self.dtype).removeprefix("torch.")
        return {**self.how, "factor": self.factor, "kernel": kernel, "dtype": dtype}


def lanczos(pictures: Tensor, factor: int) -> Tensor:
    """uint8 [B, 3, h, w] -> [B, 3, factor h, factor w] by Pillow's filter of three lobes."""
    size = (pictures.shape[3] * factor, pictures.shape[2] * factor)
    enlarged = (to_image(x).resize(size, Image.Resampling.LANCZOS) for x in pictures)
    return torch.stack([to_pixels(image) for image in enlarged])


def run(config: EvalUpsampler, out: Path | None) -> None:
    """Measure the upsampler of a run."""
    decoders.run(config, TrainUpsampler.stage, partial(_build, config), out)


def _build(config: EvalUpsampler, artifact: Artifact, device: torch.device) -> Enlargement:
    upsampler = kinds.load(artifact, config.augmentation, config.sampler, device)
    return Enlargement(
        enlarge=upsampler,
        factor=upsampler.factor,
        resolution=artifact.card["resolution"],
        seed=config.seed,
        device=device,
        dtype=pick_dtype(config.dtype, device),
        how=upsampler.settings(),
    )
