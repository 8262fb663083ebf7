"""Settings of a sampler as the words of the command line that make them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from dmtool.config import validate
from dmtool.errors import UserError
from dmtool.hydra_main import composed
from dmtool.noise import Schedule
from dmtool.samplers import times
from dmtool.schemas import LevelsGrid, Sample, Sampler, TuneSampler


@dataclass(frozen=True)
class Setting:
    """A sampler, and Hydra's words for it."""

    words: tuple[str, ...]
    sampler: Sampler

    def __str__(self) -> str:
        """The words but for the calls, which all that are compared have in common."""
        common = ("sampler.steps=", "sampler.calls=")
        return " ".join(word for word in self.words if not word.startswith(common))


def parsed(words: str, calls: int) -> Setting:
    """The setting that words with blanks between mean, at so many calls; UserError if none."""
    listed = (*words.split(), "sampler.steps=null", f"sampler.calls={calls}")
    return Setting(listed, validate(composed("sample", ["tuned=false", *listed]), Sample).sampler)


def listed(config: TuneSampler, schedule: Schedule) -> list[Setting]:
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


def _checked(words: str, calls: int, schedule: Schedule) -> Setting:
    setting = parsed(words, calls)
    if not setting.sampler.deterministic:
        raise UserError(f"{words} is random: it comes near no reference")
    times(setting.sampler, schedule)
    return setting


def explicit(setting: Setting, times: Tensor, schedule: Schedule) -> Setting:
    """The setting's sampler at the given times, as a grid of explicit levels (four digits)."""
    alpha, sigma = schedule(times[:-1])
    levels = [float(f"{level:.4g}") for level in (sigma / alpha).tolist()]
    first = None if times[0] == 1 else levels[0]
    grid = LevelsGrid(kind="levels", levels=(first, *levels[1:], 0.0))
    text = ",".join("null" if each is None else f"{each:.4g}" for each in grid.levels)
    words = [word for word in setting.words if "grid" not in word.partition("=")[0]]
    words += ["sampler/grid=levels", f"sampler.grid.levels=[{text}]"]
    return Setting(tuple(words), replace(setting.sampler, grid=grid))
