"""The generator that an artifact holds, by the kind that its card names."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dmtool.generators import diffusion
from dmtool.generators.generator import Trained
from dmtool.runs import Artifact

KINDS: dict[str, Callable[[Artifact, torch.device], Trained]] = {"diffusion": diffusion.load}


def load(artifact: Artifact, device: torch.device) -> Trained:
    """UserError if its parts are missing or damaged."""
    return KINDS[artifact.card["kind"]](artifact, device)
