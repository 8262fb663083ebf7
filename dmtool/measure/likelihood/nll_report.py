"""What `dmtool eval-nll` writes and prints: the figures with all that they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dmtool.codecs import Space
from dmtool.config.using import EvalNll
from dmtool.generators.generator import Bits, Density
from dmtool.measure.record import versions
from dmtool.runs import Artifact
from dmtool.say import counted


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


def summary(result: dict[str, Any]) -> str:
    """The figures as lines of text."""
    figures, how = result["figures"], result["protocol"]
    lines = [f"{result['n']} pictures of the split {how['split']!r}, {result['metric']}"]
    if "bound" in figures:
        bound = figures["bound"]
        terms = [f"{name} {bound[name]['mean']:.4f}" for name in ("prior", "steps", "decoder")]
        if how["space_id"] != "pixels":
            terms.append(f"whitening {how['whitening_bits']:.4f}")
        lines.append(f"  variational bound: {_said(bound['bits'])} = {' + '.join(terms)}")
        lines.append(
            f"    ({counted(how['bound']['calls'], 'call')}, {how['bound']['variance']} variance)"
        )
    if "flow" in figures:
        lines.append(f"  probability flow: {_said(figures['flow']['bits'])}")
        calls, derivatives = how["flow"]["calls"], how["flow"]["derivatives"]
        lines.append(f"    ({calls} calls, {derivatives} derivatives)")
    return "\n".join(lines)


def _said(figure: dict[str, float | None]) -> str:
    error = figure["standard_error"]
    return f"{figure['mean']:.4f}" + ("" if error is None else f" +- {error:.4f}")
