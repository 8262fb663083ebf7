"""What `dmtool eval-nll` writes and prints: the figures with all that they depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from dmtool.denoise import Denoiser
from dmtool.evaluate.record import versions
from dmtool.latents import Codec
from dmtool.likelihood import calls
from dmtool.runs import Artifact
from dmtool.samplers import grid
from dmtool.schemas import EvalNll, FlowLikelihood, VariationalBound

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
    """The figures and their protocol, for JSON."""
    card, latent = artifact.card, artifact.card["latent"]
    found = {
        "metric": "negative log-likelihood",
        "unit": f"bits per {'picture' if codec.bins else 'latent'} dimension",
        "n": len(figures),
        "split": config.split,
        "seed": config.seed,
        "data": card["data"]["fingerprint"],
        "resolution": card["resolution"],
        "shape": [latent["channels"], latent["size"], latent["size"]],
        "space_id": card["space_id"],
        "whitening_bits": codec.whitening_bits,
        "condition": "each picture's first caption, without guidance",
        "checkpoint": card["sha256"],
        "pictures_seen": card["pictures_seen"],
        "ema": card["ema"],
        "noise": card["noise"],
        "dtype": config.dtype,
        "versions": versions(),
    }
    if config.bound:
        found["bound"] = _bound(config.bound, denoiser, codec, figures)
    if config.flow:
        found["flow"] = _flow(config.flow, codec, figures)
    return found


def _bound(
    config: VariationalBound, denoiser: Denoiser, codec: Codec, figures: Sequence[Figures]
) -> dict[str, Any]:
    """The bound and its terms; `steps` goes from the noisiest on, as `times` do."""
    names = "prior", "steps", "decoder"
    prior, steps, decoder = (torch.stack([each[name] for each in figures]) for name in names)
    total = prior + steps.sum(1) + decoder + codec.whitening_bits
    return {
        "bits": estimate(total),
        "prior": estimate(prior),
        "steps": estimate(steps.sum(1)),
        "decoder": estimate(decoder),
        "decoder_of": "probabilities" if codec.bins else "densities",
        "variance": chosen_variance(config, denoiser),
        "calls": config.steps,
        "grid": asdict(config.grid),
        "times": grid(config.grid, config.steps, denoiser.schedule).tolist(),
        "each_step": steps.mean(0).tolist(),
    }


def _flow(config: FlowLikelihood, codec: Codec, figures: Sequence[Figures]) -> dict[str, Any]:
    """A density's bits become those of a bin of pixels, or of a latent before it was whitened."""
    scale = -math.log2(codec.bins) if codec.bins else codec.whitening_bits
    return {
        "bits": estimate(torch.stack([each["flow"] for each in figures]) + scale),
        "dequantised": "uniformly" if codec.bins else None,
        "solver": "Runge-Kutta of order 4, even in ln(sigma / alpha)",
        "calls": calls(config.steps),
        "derivatives": calls(config.steps) * config.probes,
        "settings": asdict(config),
    }


def estimate(values: Tensor) -> dict[str, float]:
    """The mean over pictures, and its standard error."""
    error = values.std() / math.sqrt(len(values))
    return {"mean": values.mean().item(), "standard_error": error.item()}


def summary(result: dict[str, Any]) -> str:
    """The figures as lines of text."""
    lines = [f"{result['n']} pictures of the split {result['split']!r}, {result['unit']}"]
    bound, flow = result.get("bound"), result.get("flow")
    if bound:
        terms = [f"{name} {bound[name]['mean']:.4f}" for name in ("prior", "steps", "decoder")]
        if result["space_id"] != "pixels":
            terms.append(f"whitening {result['whitening_bits']:.4f}")
        lines.append(f"  variational bound: {_said(bound['bits'])} = {' + '.join(terms)}")
        lines.append(f"    ({bound['calls']} calls, {bound['variance']} variance)")
    if flow:
        lines.append(f"  probability flow: {_said(flow['bits'])}")
        lines.append(f"    ({flow['calls']} calls, {flow['derivatives']} derivatives)")
    return "\n".join(lines)


def _said(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.4f} +- {figure['standard_error']:.4f}"
