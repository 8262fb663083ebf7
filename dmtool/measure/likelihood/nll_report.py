"""What `dmtool eval-nll` writes and prints: the figures with all that they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dmtool.codecs import Space
from dmtool.config.using import EvalNll
from dmtool.generators.generator import Bits, Density
from dmtool.measure.record import versions
from dmtool.runs import Artifact


def result(
    config: EvalNll, artifact: Artifact, space: Space, density: Density, figures: Sequence[Bits]
) -> dict[str, Any]:
    """The figures and all that they depend on, in the shape of `record`, for JSON."""
    card, found = artifact.card, density.result(figures)
    protocol = {
        "data": card["data"]["fingerprint"],
        "split": config.split,
        "seed": config.seed,
        "resolution": card["resolution"],
        "shape": list(space.shape(card["resolution"])),
        "space_id": card["space_id"],
        "condition": "each picture's first caption, without guidance",
        "dtype": config.dtype,
    }
    known = ("pictures_seen", "ema", "noise")
    settings = {"checkpoint": card["sha256"]} | {key: card[key] for key in known if key in card}
    return {
        "metric": f"negative log-likelihood, bits per {density.unit} dimension",
        "n": len(figures),
        **found,
        "protocol": protocol | found["protocol"],
        "settings": settings,
        "versions": versions(),
    }


def summary(result: dict[str, Any], density: Density) -> str:
    """The figures as lines of text."""
    head = f"{result['n']} pictures of the split {result['protocol']['split']!r}"
    return "\n".join([f"{head}, {result['metric']}", *density.lines(result)])
