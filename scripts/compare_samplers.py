"""All samplers at an equal number of denoiser calls, on a mixture of two Gaussians.

    python scripts/compare_samplers.py [--calls 10] [--grid uniform] [--noise flow scaled_linear]

Its denoiser is known in closed form, so nothing but the sampler errs. Prints a markdown table: W1
is the distance of the samples' distribution to the mixture's, RMSE that of the deterministic
samplers' to where the probability flow takes the same noise (Heun's method with 400 steps).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.config.compose import composed
from dmtool.config.sampling import Sampler
from dmtool.config.using import SampleConfig
from dmtool.config.validation import conf_dir, validate
from dmtool.diffusion.denoise import expand
from dmtool.diffusion.noise import schedule
from dmtool.diffusion.samplers import Bound, heun, last
from dmtool.diffusion.sampling import build, times
from dmtool.errors import UserError

WEIGHTS, MEANS, STDS = [0.7, 0.3], [-1.0, 1.2], [0.2, 0.4]
COUNT = 100_000
MORE = [["dpmpp_3m", "sampler.curvature=2"], ["unipc", "sampler.order=3"]]


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


def config(words: list[str], calls: int, grid: str) -> Sampler:
    words = [f"sampler={words[0]}", *words[1:], "sampler.steps=null", f"sampler.calls={calls}"]
    return validate(composed("sample", [*words, f"sampler/grid={grid}"]), SampleConfig).sampler


def quantiles(count: int) -> Tensor:
    """Evenly spread quantiles of the normal distribution [1, count], in no order."""
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return (2**0.5 * torch.erfinv(2 * levels - 1))[order][None]


def normal(seed: int) -> Callable[[Tensor], Tensor]:
    numbers = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=numbers, dtype=x.dtype)


def figures(chosen: Sampler, kind: str, start: Tensor, exact: Tensor, truth: Tensor) -> str:
    """W1 and RMSE of a sampler, as cells of the table; refused: it needs more calls."""
    bound = Bound(Mixture(kind), Cond())
    try:
        visited = times(chosen, bound.schedule)
    except UserError:  # a restart that finds no level to go back from
        return "refused |"
    first = start * torch.hypot(*bound.schedule(visited[0]))
    found = last(build(chosen)(bound, first, visited, noise=normal(0)))[0]
    distance = (found.sort().values - truth).abs().mean().item()
    rmse = (found - exact).square().mean().sqrt().item()
    assert bound.calls == chosen.calls_made
    return f"{distance:.4f} | {f'{rmse:.4f}' if chosen.deterministic else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--grid", default="uniform")
    parser.add_argument("--noise", nargs="+", default=["flow", "scaled_linear"])
    chosen = parser.parse_args()
    start, truth = quantiles(COUNT), data(COUNT)
    fine = torch.linspace(1, 0, 401, dtype=torch.float64)
    exact = {
        kind: last(heun(Bound(Mixture(kind), Cond()), start, fine, noise=normal(0)))[0]
        for kind in chosen.noise
    }
    print("| sampler | calls |", *(f"{kind}: W1 | RMSE |" for kind in chosen.noise))
    print("|---|---|" + "---|---|" * len(chosen.noise))
    kinds = sorted(path.stem for path in (conf_dir() / "sampler").glob("[a-z]*.yaml"))
    for words in [*([kind] for kind in kinds), *MORE]:
        setting = config(words, chosen.calls, chosen.grid)
        cells = [figures(setting, kind, start, exact[kind], truth) for kind in chosen.noise]
        print(f"| `{' '.join(words)}` | {setting.calls_made} |", *(f"{cell} |" for cell in cells))


if __name__ == "__main__":
    main()
