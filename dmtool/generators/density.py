"""How probable codes are to a noise predictor without guidance: a bound, and the flow's density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dmtool.codecs import Continuous
from dmtool.cond import Cond
from dmtool.config.using import EvalNll, FlowLikelihood, VariationalBound
from dmtool.diffusion.denoise import Denoiser
from dmtool.diffusion.likelihood import calls, flow_likelihood, variational_bound
from dmtool.diffusion.network import condition
from dmtool.diffusion.samplers import Key, PictureNoise
from dmtool.diffusion.sampling import grid
from dmtool.generators.generator import Bits
from dmtool.say import counted
from dmtool.text import TextEncoder


@dataclass(frozen=True)
class DiffusionDensity:
    """See `generator.Density`."""

    config: EvalNll
    denoiser: Denoiser
    text: TextEncoder
    space: Continuous
    device: torch.device

    @property
    def unit(self) -> str:
        return "picture" if self.space.bins else "latent"

    def bits(self, codes: Tensor, captions: Sequence[str], keys: Sequence[Key]) -> Bits:
        config, found = self.config, Bits()
        cond = condition(self.denoiser.network, self.text, captions, self.device)
        if config.bound:
            found |= self._bound(config.bound, codes, cond, keys)
        if config.flow:
            found |= self._flow(config.flow, codes, cond, keys)
        return found

    def _bound(
        self, config: VariationalBound, x_0: Tensor, cond: Cond, keys: Sequence[Key]
    ) -> Bits:
        return variational_bound(
            self.denoiser,
            x_0,
            cond,
            grid(config.grid, config.steps, self.denoiser.schedule),
            variance=self._variance(config),
            noise=_noise("bound", keys),
            bins=self.space.bins,
        )._asdict()

    def _flow(self, config: FlowLikelihood, x_0: Tensor, cond: Cond, keys: Sequence[Key]) -> Bits:
        if self.space.bins:
            uniform = torch.special.ndtr(_noise("dequantise", keys)(x_0))
            x_0 = x_0 + (uniform - 0.5) * self.space.bins
        draw = _noise("probes", keys)
        probes = [draw(x_0) for _ in range(config.probes)]
        if config.probe == "rademacher":
            probes = [torch.where(probe < 0, -1.0, 1.0) for probe in probes]
        found = flow_likelihood(
            self.denoiser,
            x_0,
            cond,
            steps=config.steps,
            low=config.low,
            high=config.high,
            probes=probes,
        )
        return {"flow": found}

    def _variance(self, config: VariationalBound) -> str:
        """small, large or learned, whatever `auto` is."""
        best = "large" if self.denoiser.variance == "fixed" else "learned"
        return best if config.variance == "auto" else config.variance

    def result(self, figures: Sequence[Bits]) -> dict[str, dict[str, Any]]:
        """`terms` has the bound step by step, from the noisiest on."""
        found: dict[str, dict[str, Any]] = {"figures": {}, "protocol": {}}
        found["protocol"]["whitening_bits"] = self.space.whitening_bits
        if config := self.config.bound:
            found["figures"]["bound"] = self._of_bound(figures)
            found["protocol"]["bound"] = self._how_bound(config)
            times = grid(config.grid, config.steps, self.denoiser.schedule)
            bits = stacked(figures, "steps").mean(0)
            found["terms"] = {"times": times.tolist(), "bits": bits.tolist()}
        if self.config.flow:
            found["figures"]["flow"] = self._of_flow(figures)
            found["protocol"]["flow"] = self._how_flow(self.config.flow)
        return found

    def lines(self, result: dict[str, Any]) -> list[str]:
        figures, how, found = result["figures"], result["protocol"], []
        if "bound" in figures:
            bound, done = figures["bound"], how["bound"]
            terms = [f"{name} {bound[name]['mean']:.4f}" for name in ("prior", "steps", "decoder")]
            if not self.space.bins:
                terms.append(f"whitening {self.space.whitening_bits:.4f}")
            found.append(f"  variational bound: {_said(bound['bits'])} = {' + '.join(terms)}")
            found.append(f"    ({counted(done['calls'], 'call')}, {done['variance']} variance)")
        if "flow" in figures:
            done = how["flow"]
            found.append(f"  probability flow: {_said(figures['flow']['bits'])}")
            found.append(f"    ({done['calls']} calls, {done['derivatives']} derivatives)")
        return found

    def _of_bound(self, figures: Sequence[Bits]) -> dict[str, Any]:
        """The bound, and its terms whose sum it is."""
        prior, steps, decoder = (stacked(figures, name) for name in ("prior", "steps", "decoder"))
        steps = steps.sum(1)
        found = {"bits": estimate(prior + steps + decoder + self.space.whitening_bits)}
        return found | {
            "prior": estimate(prior),
            "steps": estimate(steps),
            "decoder": estimate(decoder),
        }

    def _how_bound(self, config: VariationalBound) -> dict[str, Any]:
        return {
            "variance": self._variance(config),
            "calls": config.steps,
            "grid": asdict(config.grid),
            "decoder": "probabilities" if self.space.bins else "densities",
        }

    def _of_flow(self, figures: Sequence[Bits]) -> dict[str, Any]:
        """A density's bits become those of a bin of pixels, or of a latent before it was
        whitened."""
        space = self.space
        scale = -math.log2(space.bins) if space.bins else space.whitening_bits
        return {"bits": estimate(stacked(figures, "flow") + scale)}

    def _how_flow(self, config: FlowLikelihood) -> dict[str, Any]:
        return {
            "dequantised": "uniformly" if self.space.bins else None,
            "solver": "Runge-Kutta of order 4, even in ln(sigma / alpha)",
            "calls": calls(config.steps),
            "derivatives": calls(config.steps) * config.probes,
            **asdict(config),
        }


def _noise(purpose: str, keys: Sequence[Key]) -> PictureNoise:
    return PictureNoise([(seed, purpose, i) for seed, i in keys])


def stacked(figures: Sequence[Bits], name: str) -> Tensor:
    """One figure of all codes [N, ...]."""
    return torch.stack([each[name] for each in figures])


def estimate(values: Tensor) -> dict[str, float | None]:
    """The mean over codes, and its standard error (None of a single one)."""
    n = len(values)
    error = (values.std() / math.sqrt(n)).item() if n > 1 else None
    return {"mean": values.mean().item(), "standard_error": error}


def _said(figure: dict[str, float | None]) -> str:
    error = figure["standard_error"]
    return f"{figure['mean']:.4f}" + ("" if error is None else f" +- {error:.4f}")
