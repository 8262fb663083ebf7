"""All samplers at an equal number of denoiser calls, on a mixture of two Gaussians.

    python scripts/compare_samplers.py [--calls 10] [--grid log_snr] [--noise flow scaled_linear]

Its denoiser is known in closed form, so nothing but the sampler errs. Prints a markdown table: W1
is the distance of the samples' distribution to the mixture's, RMSE that of the deterministic
samplers' to where the probability flow takes the same noise (Heun's method with 2,000 steps).
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.config import conf_dir, validate
from dmtool.denoise import expand
from dmtool.hydra_main import composed
from dmtool.noise import schedule
from dmtool.samplers import Bound, build, heun, last, times
from dmtool.schemas import Sampler, Use

WEIGHTS, MEANS, STDS = [0.7, 0.3], [-1.0, 1.2], [0.2, 0.4]
COUNT = 100_000
NOISY = {"ddpm", "edm", "euler_ancestral", "dpmpp_2m_sde", "restart"}


class Mixture:
    """E[x_0 | x_t] of the mixture, by the components' posteriors."""

    def __init__(self, noise: str) -> None:
        self.schedule = schedule(noise)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        alpha, sigma = (expand(each, x_t)[..., None] for each in self.schedule(t))
        weights, means, stds = (torch.tensor(each).to(x_t) for each in (WEIGHTS, MEANS, STDS))
        variance = (alpha * stds) ** 2 + sigma**2
        error = x_t[..., None] - alpha * means
        share = (weights.log() - variance.log() / 2 - error**2 / (2 * variance)).softmax(-1)
        return (share * (means + alpha * stds**2 / variance * error)).sum(-1)


def data(count: int) -> Tensor:
    """Evenly spread quantiles of the mixture [count]."""
    numbers = torch.Generator().manual_seed(1)
    which = (torch.arange(20 * count) < WEIGHTS[0] * 20 * count).long().mul(-1).add(1)
    draws = torch.randn(20 * count, generator=numbers, dtype=torch.float64)
    values = torch.tensor(MEANS).double()[which] + torch.tensor(STDS).double()[which] * draws
    return values.sort().values[10::20]


def config(kind: str, calls: int, grid: str) -> Sampler:
    words = [f"sampler={kind}", "sampler.steps=null", f"sampler.calls={calls}"]
    return validate(composed("sample", [*words, f"sampler/grid={grid}"]), Use).sampler


def noise(seed: int, count: int) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(1, count, generator=numbers, dtype=torch.float64)


def figures(chosen: Sampler, kind: str, start: Tensor, exact: Tensor, truth: Tensor) -> str:
    """W1 and RMSE of a sampler, as cells of the table."""
    bound, seeds = Bound(Mixture(kind), Cond()), iter(range(1, 10_000))
    visited = times(chosen, bound.schedule)
    first = start * torch.hypot(*bound.schedule(visited[0]))
    draw = build(chosen)(bound, first, visited, noise=lambda x: noise(next(seeds), COUNT))
    found = last(draw)[0]
    distance = (found.sort().values - truth).abs().mean().item()
    rmse = (found - exact).square().mean().sqrt().item()
    assert bound.calls == chosen.calls_made
    return f"{distance:.4f} | {'' if chosen.kind in NOISY else f'{rmse:.4f}'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--grid", default="log_snr")
    parser.add_argument("--noise", nargs="+", default=["flow", "scaled_linear"])
    chosen = parser.parse_args()
    start, truth = noise(0, COUNT), data(COUNT)
    fine = torch.linspace(1, 0, 2001, dtype=torch.float64)
    exact = {
        kind: last(heun(Bound(Mixture(kind), Cond()), start, fine, noise=torch.zeros_like))[0]
        for kind in chosen.noise
    }
    print("| sampler | calls |", *(f"{kind}: W1 | RMSE |" for kind in chosen.noise))
    print("|---|---|" + "---|---|" * len(chosen.noise))
    for path in sorted((conf_dir() / "sampler").glob("[a-z]*.yaml")):
        setting = config(path.stem, chosen.calls, chosen.grid)
        cells = [figures(setting, kind, start, exact[kind], truth) for kind in chosen.noise]
        print(f"| `{path.stem}` | {setting.calls_made} |", *(f"{cell} |" for cell in cells))


if __name__ == "__main__":
    main()
