"""Denoisers that artifacts hold."""

from __future__ import annotations

import torch

from dmtool import text
from dmtool.diffusion import denoise, network
from dmtool.diffusion.denoise import Denoiser
from dmtool.runs import Artifact, fitting
from dmtool.text import TextEncoder


def load_denoiser(artifact: Artifact, device: torch.device) -> tuple[Denoiser, TextEncoder]:
    """The denoiser of an artifact and the text encoder that it was trained with."""
    card = artifact.card
    encoder = text.from_card(card["text"], device, artifact.path)
    predictor = fitting.loaded(artifact, lambda: network.build(card["network"], encoder))
    predictor.to(device).eval().requires_grad_(False)
    return denoise.build(network.Sampling(predictor), card["noise"]), encoder
