"""What `dmtool eval-nll` writes and prints: the figures with all that they depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from dmtool.codecs.latents import Codec
from dmtool.config.using import EvalNll, FlowLikelihood, VariationalBound
from dmtool.diffusion.denoise import Denoiser
from dmtool.diffusion.likelihood import calls
from dmtool.diffusion.sampling import grid
from dmtool.measure.record import versions
from dmtool.runs import Artifact

Figures = dict[str, Tensor]
"""Bits per dimension by name, of one picture or of a batch of them."""


def chosen_variance(config: VariationalBound, denoiser: Denoiser) -> str:
    """small, large or learned, whatever `auto` is."""
    best = "large" if denoiser.variance == "fixed" else "learned"
    return best if config.variance == "auto" else config.variance


def result(
    config: EvalNll,
    artifact: Artifact,
    denoiser: Denoiser,
    codec: Codec,
    figures: Sequence[Figures],
) -> dict[str, Any]:
    """The figures and all that they depend on, in the shape of `record`, for JSON.

    `terms` has the bound step by step, from the noisiest on.
    """
    card, latent = artifact.card, artifact.card["latent"]
    found: dict[str, Any] = {
        "metric": f"negative log-likelihood, bits per {_unit(codec)} dimension",
        "n": len(figures),
        "figures": {},
        "protocol": {
            "data": card["data"]["fingerprint"],
            "split": config.split,
            "seed": config.seed,
            "resolution": card["resolution"],
            "shape": [latent["channels"], latent["size"], latent["size"]],
            "space_id": card["space_id"],
            "whitening_bits": codec.whitening_bits,
            "condition": "each picture's first caption, without guidance",
            "dtype": config.dtype,
        },
        "settings": {
            "checkpoint": card["sha256"],
            "pictures_seen": card["pictures_seen"],
            "ema": card["ema"],
            "noise": card["noise"],
        },
        "versions": versions(),
    }
    if config.bound:
        times = grid(config.bound.grid, config.bound.steps, denoiser.schedule)
        found["figures"]["bound"] = _bound(codec, figures)
        found["protocol"]["bound"] = _of_bound(config.bound, denoiser, codec)
        found["terms"] = {
            "times": times.tolist(),
            "bits": stacked(figures, "steps").mean(0).tolist(),
        }
    if config.flow:
        found["figures"]["flow"] = _flow(codec, figures)
        found["protocol"]["flow"] = _of_flow(config.flow, codec)
    return found


def _unit(codec: Codec) -> str:
    return "picture" if codec.bins else "latent"


def stacked(figures: Sequence[Figures], name: str) -> Tensor:
    """One figure of all pictures [N, ...]."""
    return torch.stack([each[name] for each in figures])


def _bound(codec: Codec, figures: Sequence[Figures]) -> dict[str, Any]:
    """The bound, and its terms whose sum it is."""
    prior, steps, decoder = (stacked(figures, name) for name in ("prior", "steps", "decoder"))
    steps = steps.sum(1)
    found = {"bits": estimate(prior + steps + decoder + codec.whitening_bits)}
    return found | {
        "prior": estimate(prior),
        "steps": estimate(steps),
        "decoder": estimate(decoder),
    }


def _of_bound(config: VariationalBound, denoiser: Denoiser, codec: Codec) -> dict[str, Any]:
    return {
        "variance": chosen_variance(config, denoiser),
        "calls": config.steps,
        "grid": asdict(config.grid),
        "decoder": "probabilities" if codec.bins else "densities",
    }


def _flow(codec: Codec, figures: Sequence[Figures]) -> dict[str, Any]:
    """A density's bits become those of a bin of pixels, or of a latent before it was whitened."""
    scale = -math.log2(codec.bins) if codec.bins else codec.whitening_bits
    return {"bits": estimate(stacked(figures, "flow") + scale)}


def _of_flow(config: FlowLikelihood, codec: Codec) -> dict[str, Any]:
    return {
        "dequantised": "uniformly" if codec.bins else None,
        "solver": "Runge-Kutta of order 4, even in ln(sigma / alpha)",
        "calls": calls(config.steps),
        "derivatives": calls(config.steps) * config.probes,
        **asdict(config),
    }


def estimate(values: Tensor) -> dict[str, float | None]:
    """The mean over pictures, and its standard error (None of a single picture)."""
    n = len(values)
    error = (values.std() / math.sqrt(n)).item() if n > 1 else None
    return {"mean": values.mean().item(), "standard_error": error}


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
        lines.append(f"    ({how['bound']['calls']} calls, {how['bound']['variance']} variance)")
    if "flow" in figures:
        lines.append(f"  probability flow: {_said(figures['flow']['bits'])}")
        calls, derivatives = how["flow"]["calls"], how["flow"]["derivatives"]
        lines.append(f"    ({calls} calls, {derivatives} derivatives)")
    return "\n".join(lines)


def _said(figure: dict[str, float | None]) -> str:
    error = figure["standard_error"]
    return f"{figure['mean']:.4f}" + ("" if error is None else f" +- {error:.4f}")
