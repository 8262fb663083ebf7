"""`dmtool plot-noise`: noise processes side by side, and a picture on its way into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dmtool.config.compose import choices, composed
from dmtool.config.using import NoisePlot
from dmtool.config.validation import conf_dir, validate
from dmtool.data import emoji
from dmtool.data.transforms import (
    decode,
    open_picture,
    read_bytes,
    square,
    to_image,
    to_pixels,
    to_tensor,
    to_uint8,
)
from dmtool.diffusion import noise, weighting
from dmtool.diffusion.denoise import x0_coefficients
from dmtool.diffusion.noise import Schedule, log_snr
from dmtool.draw import plot
from dmtool.draw.plot import Curve, Panel, Strip
from dmtool.errors import UserError
from dmtool.rng import generator
from dmtool.train.stages.process import draw_times, process_card

POINTS = 1000
FRAMES = 11
SIZE = 96  # pixels of the picture
MAX_PIXELS = 2**26
WHITE = (255, 255, 255)
HEART = "❤️"


@dataclass(frozen=True)
class Process:
    """A noise process by its name on the page."""

    name: str
    config: NoisePlot

    @property
    def schedule(self) -> Schedule:
        card = process_card(self.config.noise, self.config.positions)
        del card["prediction"], card["c_noise"]
        card.pop("sigma_data", None)
        return noise.schedule(**card)

    def drawn(self) -> Tensor:
        """The quantiles of the training times at POINTS + 1 equal steps, float64."""
        numbers = torch.linspace(0, 1, POINTS + 1, dtype=torch.float64)
        times = replace(self.config.noise.times, stratified=False)
        return draw_times(times, self.schedule, numbers, [], 1)

    def density(self) -> tuple[Tensor, Tensor]:
        """Log-SNRs, falling, and the density of training times there; its integral is 1."""
        times = self.drawn()
        inside = (times[:-1] > times[0]) & (times[1:] < times[-1])  # at the ends times are cut off
        levels = log_snr(*self.schedule(times))
        middles, lengths = (levels[:-1] + levels[1:]) / 2, levels[:-1] - levels[1:]
        return middles[inside], 1 / POINTS / lengths[inside]

    def weight(self, levels: Tensor) -> Tensor:
        """The loss's weight of ||x_0_hat - x_0||^2 at log-SNRs that the schedule has."""
        chosen = weighting.build(self.config.noise.weighting)
        if chosen is not None:
            return chosen(levels)
        alpha, sigma = self.schedule(self.schedule.time(levels))
        kind, sigma_data = self.config.noise.prediction, self.config.noise.sigma_data
        return x0_coefficients(kind, alpha, sigma, sigma_data)[1] ** -2


def draw(words: Sequence[str], everything: bool, picture: Path | None, out: Path) -> None:
    """Write the figure of what Hydra's `words` say; commas compare several settings.

    `everything` stands for all options of the group `noise`. UserError for words that fit nothing
    and for a file that is no picture.
    """
    if everything:
        if any(word.startswith("noise=") for word in words):
            raise UserError("--all is every noise=KIND: give one of them")
        words = [f"noise={','.join(kinds())}", *words]
    figure(processes(words), _picture(picture), out)


def kinds() -> list[str]:
    """The options of the config group `noise`."""
    return sorted(p.stem for p in (conf_dir() / "noise").glob("*.yaml") if p.stem[0] != "_")


def processes(words: Sequence[str]) -> list[Process]:
    """One process for each combination of what the words give with commas."""
    several = [choices(word) for word in words]
    found = []
    for chosen in product(*several):
        config = validate(composed("plot_noise", chosen), NoisePlot)
        told = [w for w, options in zip(chosen, several, strict=True) if len(options) > 1]
        found.append(Process(_name(told) or config.noise.kind, config))
    return found


def figure(several: Sequence[Process], picture: Tensor, out: Path) -> None:
    """Write the page of all processes."""
    strips = [strip(process, picture) for process in several]
    plot.write(plot.page(panels(several), strips), out)


def panels(several: Sequence[Process]) -> list[Panel]:
    """The curves of all processes over t, and over the log-SNR."""
    t = torch.linspace(0, 1, POINTS + 1, dtype=torch.float64)
    levels = {process.name: process.schedule(t) for process in several}
    log_snrs = {name: log_snr(*level) for name, level in levels.items()}
    densities = {process.name: process.density() for process in several}
    weights = {p.name: p.weight(densities[p.name][0]) for p in several}
    high = max(float(sigma[-1]) for _, sigma in levels.values()) > 2
    ends = (1e-3, None) if high else (0, None)

    def over_time(values: dict[str, Tensor]) -> list[Curve]:
        return [Curve(name, t, each) for name, each in values.items()]

    def over_noise(values: dict[str, Tensor]) -> list[Curve]:
        return [Curve(name, densities[name][0], each) for name, each in values.items()]

    alphas = {name: alpha for name, (alpha, _) in levels.items()}
    sigmas = {name: sigma for name, (_, sigma) in levels.items()}
    shares = {name: _share(*densities[name], weights[name]) for name in weights}
    return [
        Panel("alpha", "t", over_time(alphas), limits=(0, 1.05)),
        Panel("sigma", "t", over_time(sigmas), log_y=high, limits=ends),
        Panel("log-SNR", "t", over_time(log_snrs), limits=(-15, 15)),
        Panel("Density of training times", "log-SNR",
              over_noise({name: density for name, (_, density) in densities.items()}),
              limits=(0, None)),
        Panel("Weight of the clean picture's error", "log-SNR", over_noise(weights), log_y=True),
        Panel("Density × weight, of the noise's error", "log-SNR", over_noise(shares),
              y="share of the most", limits=(0, 1.05)),
    ]  # fmt: skip


def _share(levels: Tensor, density: Tensor, weight: Tensor) -> Tensor:
    """What the loss makes of the error of eps, whose square is the SNR's times that of x_0."""
    product = density * weight / levels.exp()
    return product / product.max()


def strip(process: Process, picture: Tensor) -> Strip:
    """The picture [3, H, W] in [-1, 1] with ever more of the same noise, brought to the variance of
    one of variance 1."""
    times = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
    eps = torch.randn(picture.shape, generator=generator(0, "plot-noise"))
    alpha, sigma = process.schedule(times)
    frames = [
        to_image(to_uint8((a * picture + s * eps) / np.hypot(a, s)))
        for a, s in zip(alpha.tolist(), sigma.tolist(), strict=True)
    ]
    levels = log_snr(alpha, sigma).tolist()
    labels = [f"{t:.1f}, {level:+.1f}" for t, level in zip(times, levels, strict=True)]
    return Strip(f"{process.name}: t, log-SNR", frames, labels)


def _name(words: Sequence[str]) -> str:
    """What tells a process from the others: "cosine", "shift.value=3"."""
    short = [word.removeprefix("noise=").removeprefix("noise.") for word in words]
    return " ".join(word.removeprefix("noise/") for word in short)


def _picture(path: Path | None) -> Tensor:
    """The middle of the picture, [3, SIZE, SIZE] in [-1, 1]; None is a packaged one."""
    try:
        data = emoji.picture(HEART, SIZE) if path is None else read_bytes(path)
        open_picture(data, MAX_PIXELS)
        image = square(decode(data, SIZE, WHITE), SIZE, 0.5, 0.5)
    except (OSError, Image.DecompressionBombError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a picture that can be read ({error})") from error
    return to_tensor(to_pixels(image))
