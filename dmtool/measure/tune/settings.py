"""The samplers that are tried, as the words of the command line make them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from dmtool.config import words
from dmtool.config.compose import composed
from dmtool.config.sampling import LevelsGrid, Sampler
from dmtool.config.tuning import TuneSampler
from dmtool.config.using import SampleConfig
from dmtool.config.validation import validate
from dmtool.diffusion.noise import Schedule
from dmtool.diffusion.sampling import times
from dmtool.errors import UserError


def label(sampler: Sampler) -> str:
    """Its words but for the calls, which all that are compared have in common."""
    common = ("sampler.steps=", "sampler.calls=")
    return " ".join(word for word in words.of_sampler(sampler) if not word.startswith(common))


def parsed(said: str, calls: int) -> Sampler:
    """The sampler that words with blanks between mean, at so many calls; UserError if none."""
    listed = [*said.split(), "sampler.steps=null", f"sampler.calls={calls}"]
    return validate(composed("sample", listed), SampleConfig).sampler


def listed(config: TuneSampler, schedule: Schedule) -> list[Sampler]:
    """All samplers on all grids, without those that have no meaning at so few calls.

    UserError if none has, with what the last of them lacks.
    """
    found, last = [], ""
    for sampler in config.samplers:
        for grid in config.grids:
            try:
                found.append(
                    _checked(f"sampler={sampler} sampler/grid={grid}", config.calls, schedule)
                )
            except UserError as error:
                last = str(error)
    if not found:
        raise UserError(f"no sampler has a meaning with calls={config.calls}: {last}")
    return found


def _checked(said: str, calls: int, schedule: Schedule) -> Sampler:
    sampler = parsed(said, calls)
    if not sampler.deterministic:
        raise UserError(f"{said} is random: it comes near no reference")
    times(sampler, schedule)
    return sampler


def explicit(sampler: Sampler, times: Tensor, schedule: Schedule) -> Sampler:
    """The sampler at the given times, as a grid of explicit levels (four digits)."""
    alpha, sigma = schedule(times[:-1])
    levels = [float(f"{level:.4g}") for level in (sigma / alpha).tolist()]
    first = None if times[0] == 1 else levels[0]
    return replace(sampler, grid=LevelsGrid(kind="levels", levels=(first, *levels[1:], 0.0)))
