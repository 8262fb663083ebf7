"""`dmtool eval-vae`: pictures beside what an autoencoder gives back of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmtool import codecs
from dmtool.codecs import Codec
from dmtool.config.evaluating import EvalVae
from dmtool.config.stages import TrainVae
from dmtool.data.transforms import to_tensor, to_uint8
from dmtool.device import autocast, pick_dtype
from dmtool.measure.decoders import decoders
from dmtool.measure.decoders.pairs import Results
from dmtool.runs import Artifact


@dataclass(frozen=True)
class Reconstruction:
    """See `decoders.Decoder`. Pictures go through the posterior's mean, whitened and back."""

    codec: Codec
    resolution: int
    device: torch.device
    dtype: torch.dtype
    prefix: str = "r"

    @torch.inference_mode()
    def __call__(self, real: Tensor, prompts: Sequence[str], rows: Sequence[int]) -> Results:
        with autocast(self.device, self.dtype):
            z = self.codec.encode(to_tensor(real.to(self.device)))
            made = to_uint8(self.codec.decode(z)).cpu()
        return Results({"reconstruction": made}, latents=z.float().cpu())

    def settings(self) -> dict[str, Any]:
        dtype = str(self.dtype).removeprefix("torch.")
        return {"latent": "posterior mean", "space_id": self.codec.space_id, "dtype": dtype}


def run(config: EvalVae, out: Path | None) -> None:
    """Measure the autoencoder of a run."""

    def build(artifact: Artifact, device: torch.device) -> Reconstruction:
        dtype = pick_dtype(config.dtype, device)
        codec = codecs.load(artifact, device)
        return Reconstruction(codec, artifact.card["resolution"], device, dtype)

    decoders.run(config, TrainVae.stage, build, out)
