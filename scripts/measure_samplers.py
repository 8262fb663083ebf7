"""The samplers on a trained run: Fréchet distance and distance to a many-step reference, by calls.

    python scripts/measure_samplers.py measure OUT run=demo guidance.scale=2 [--compile] \
        [--tuned FILE ...]
    python scripts/measure_samplers.py show OUT [--plot FILE.png]

`measure` writes each figure to OUT/figures.jsonl when it is there, the most telling ones first, and
goes on where it was when it is started again; several processes with one OUT share the work. FILE
is what `dmtool tune-sampler --out FILE` wrote; the captions are those that it did not see. All
other words are those of tune-sampler. `show` prints tables and draws a plot, of the cells that have
been measured with all of the first --seeds sets.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dmtool.chain import pipeline
from dmtool.chain.pipeline import Pipeline
from dmtool.chain.request import Request
from dmtool.config.compose import composed
from dmtool.config.guidance import Guidance
from dmtool.config.sampling import Sampler
from dmtool.config.tuning import TuneSampler
from dmtool.config.using import SampleConfig
from dmtool.config.validation import validate
from dmtool.config.words import of_defaults, of_sampler
from dmtool.data.batches import evenly
from dmtool.diffusion.sampling import times
from dmtool.errors import UserError, exit_codes
from dmtool.measure.distances.distance import distance
from dmtool.measure.features import features
from dmtool.measure.tune import Bench, errors
from dmtool.measure.tune.bench import Real
from dmtool.measure.tune.captions import captions, halves, real
from dmtool.runs import defaults

if TYPE_CHECKING:
    from dmtool.draw.plot import Curve

SAMPLERS = (
    "dpmpp_2m", "unipc", "heun", "euler", "dpmpp_3m", "plms",
    "ddpm", "euler_ancestral", "dpmpp_2m_sde", "edm", "restart",
)  # fmt: skip
GRIDS = ("dpmpp_2m", "unipc")
"""Samplers that are measured on the published grids, too."""

PUBLISHED = ("ays_sd15", "gits_sd15")
PUBLISHED_UP_TO = 20
"""Calls: what the published grids are made for."""

REFERENCE, CHUNK = 250, 50
"""The calls of the reference, and the pictures of it that are made, and kept, at once."""


@dataclass(frozen=True)
class Cell:
    """One figure: words of the command line, what they are called in the table, and a seed."""

    sampler: str
    grid: str
    guidance: str
    calls: int
    words: tuple[str, ...]
    seed: int = 0

    @property
    def key(self) -> str:
        return " ".join([*self.words, f"seed={self.seed}"])


def cells(calls: list[int], seeds: int, samplers: list[str], tuned: list[Path]) -> list[Cell]:
    """All, by importance: the first seed before the others, and of these few calls before many."""
    grids = [each for each in calls if each <= PUBLISHED_UP_TO]
    order = {  # without the references that several files of tune-sampler have in common
        cell.key: cell
        for cell in [
            *_tuned(tuned),
            _reference(()),
            *_plain(calls, samplers),
            *_published(grids, samplers),
        ]
    }
    all_seeds = [replace(cell, seed=seed) for seed in range(seeds) for cell in order.values()]
    return sorted(all_seeds, key=lambda cell: (cell.seed > 0, cell.calls, cell.seed))


def _setting(sampler: str, grid: str, calls: int) -> Cell:
    limit = ("sampler.steps=null", f"sampler.calls={calls}")
    words = (f"sampler={sampler}", *limit, f"sampler/grid={grid}")
    return Cell(sampler, grid, "run", calls, words)


def _plain(calls: list[int], samplers: list[str]) -> Iterator[Cell]:
    for sampler in samplers:
        yield from (_setting(sampler, "uniform", number) for number in calls)


def _published(calls: list[int], samplers: list[str]) -> Iterator[Cell]:
    for grid in PUBLISHED:
        for sampler in (kind for kind in GRIDS if kind in samplers):
            yield from (_setting(sampler, grid, number) for number in calls)


def _tuned(files: list[Path]) -> Iterator[Cell]:
    """The tuned steps with the run's guidance, and with the tuned one; then the reference so."""
    for file in files:
        settings = defaults.load(file).settings
        assert settings.sampler is not None
        words, steps = of_defaults(settings), tuple(of_sampler(settings.sampler))
        calls = settings.sampler.calls or settings.sampler.calls_made
        yield Cell("tuned", "tuned", "run", calls, steps)
        if len(steps) < len(words):
            yield Cell("tuned", "tuned", "tuned", calls, tuple(words))
            yield _reference(tuple(word for word in words if word not in steps))


def _reference(guidance: tuple[str, ...]) -> Cell:
    words = ("sampler=heun", "sampler.steps=null", f"sampler.calls={REFERENCE}", *guidance)
    return Cell("heun", "uniform", "tuned" if guidance else "run", REFERENCE, words)


# --- measuring ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """A chain, its captions and the real pictures' features; and where figures are kept."""

    config: TuneSampler
    chain: Pipeline
    requests: list[Request]
    real: Real
    folder: Path

    def bench(self, seed: int, part: slice = slice(None)) -> Bench:
        requests = [
            replace(each, key=(self.config.seed + seed, each.key[1]))
            for each in self.requests[part]
        ]
        return Bench(self.chain, requests)

    def measure(self, cell: Cell) -> dict[str, Any]:
        """The figures of a cell, for JSON; with `refused` alone where it has no meaning."""
        try:
            sampler, guidance = self.setting(cell)
            times(sampler, self.chain.generator.schedule)
        except UserError as error:
            return {"refused": str(error)}
        started = time.monotonic()
        if cell.calls == REFERENCE:
            pictures = self.reference(cell)
        else:
            pictures = self.bench(cell.seed).pictures(sampler, guidance)
        made = self.chain.generator.tuned(sampler, guidance)
        return {
            "fd": self.distance(pictures),
            **(self.errors(cell, pictures) if sampler.deterministic else {}),
            "made": sampler.calls_made,
            "evaluations": made.network_evaluations(),
            "seconds": round(time.monotonic() - started),
        }

    def setting(self, cell: Cell) -> tuple[Sampler, Guidance]:
        """A cell's sampler, and the run's guidance or that of its words."""
        use = validate(composed("sample", cell.words), SampleConfig)
        tuned = cell.guidance == "tuned"
        return use.sampler, use.guidance if tuned else self.chain.generator.guidance

    def distance(self, pictures: Tensor) -> float:
        fake = features.extract(self.real.extractor, iter(pictures), self.config.batch_size)
        return distance(fake, self.real.features).distance

    def errors(self, cell: Cell, pictures: Tensor) -> dict[str, float]:
        """RMSE to the reference's pictures, in the mean and the median, where the reference has the
        same guidance and seed."""
        if cell.guidance != "run" or cell.seed:
            return {}
        each = errors(pictures, self.reference(_reference(())))
        return {"rmse": each.mean().item(), "median": each.median().item()}

    def reference(self, cell: Cell) -> Tensor:
        """A reference's pictures, made in chunks that are kept."""
        sampler, guidance = self.setting(cell)
        interval = guidance.interval
        name = f"{guidance.scale:g}-{interval.low:g}-{interval.high}-{cell.seed}"

        def chunk(start: int) -> Tensor:
            bench = self.bench(cell.seed, slice(start, start + CHUNK))
            file = self.folder / f"reference-{name}-{start:05d}.npy"
            return kept(file, lambda: bench.pictures(sampler, guidance))

        return torch.cat([chunk(start) for start in range(0, len(self.requests), CHUNK)])


def kept(file: Path, make: Callable[[], Tensor]) -> Tensor:
    """What `make` makes, once for all processes and runs."""
    with open(file.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            np.save(file.with_suffix(".partial.npy"), make().numpy())
            file.with_suffix(".partial.npy").rename(file)
    return torch.from_numpy(np.load(file))


@contextmanager
def claim(file: Path) -> Iterator[bool]:
    """Whether no other process has claimed the file, which this one has until the end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def measure(chosen: argparse.Namespace, words: list[str]) -> None:
    """Measure all cells of this part that are not done."""
    config = validate(composed("tune_sampler", words), TuneSampler)
    chosen.out.mkdir(parents=True, exist_ok=True)
    chain = pipeline.load(config)
    requests = evenly(halves(captions(config, chain), config.seed).others, chosen.count)
    random.Random(0).shuffle(requests)  # so that the first are like all
    subject = Subject(config, chain, requests, real(config, chain), chosen.out)
    same = {"n": len(requests), "checkpoint": chain.card["sha256"]}
    same["guidance_scale"] = chain.generator.guidance.scale
    if chosen.compile:
        unet = chain.generator.denoiser.network.unet
        torch._dynamo.config.recompile_limit = 64  # a batch's rest and other texts are other shapes
        unet.forward = torch.compile(unet.forward, dynamic=False, options={"freezing": True})
    for cell in cells(chosen.calls, chosen.seeds, chosen.samplers, chosen.tuned):
        with claim(chosen.out / "claims" / sha256(cell.key.encode()).hexdigest()) as mine:
            done = {_done(line, same) for line in read(chosen.out)}
            if not mine or (cell.key, *same.values()) in done:
                continue
            found = {**asdict(cell), "key": cell.key, **same, **subject.measure(cell)}
            with open(chosen.out / "figures.jsonl", "a") as file:
                file.write(json.dumps(found) + "\n")
        shown = {name: found.get(name) for name in ("fd", "rmse", "median", "seconds")}
        print(cell.key, shown, flush=True)


def _done(line: dict[str, Any], same: dict[str, Any]) -> tuple[Any, ...]:
    return (line["key"], *(line[name] for name in same))


def read(folder: Path) -> list[dict[str, Any]]:
    """The lines of figures.jsonl so far."""
    file = folder / "figures.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


# --- showing --------------------------------------------------------------------------------------

Row = tuple[str, str, str]
"""Sampler, grid, guidance."""

Found = dict[Row, dict[int, list[float]]]
"""Values by row of a table and by calls, one a seed."""


def show(chosen: argparse.Namespace, words: list[str]) -> None:
    """Print the tables, and draw the figures over the calls."""
    lines = [line for line in read(chosen.out) if "refused" not in line]
    if not lines:
        raise UserError(f"{chosen.out} has no figures.jsonl: measure first")
    distances = collected(lines, "fd", chosen.seeds)
    means, middle = (collected(lines, name, 1) for name in ("rmse", "median"))
    sets = f"{chosen.seeds} sets of seeds: mean +- half the range" if chosen.seeds > 1 else "1 set"
    print(f"FD-EffNetLite0@224, N = {lines[0]['n']}, {sets}\n")
    print(table(distances), "\n\nRMSE to the reference, of 0 to 255\n\n", table(means), sep="")
    print("\nthe same of the median picture\n\n", table(middle), sep="")
    if chosen.plot:
        draw(distances, middle, chosen.plot)


def collected(lines: list[dict[str, Any]], figure: str, seeds: int) -> Found:
    """The figure's values by row of the table and by calls, where all first `seeds` are there."""
    found: dict[Row, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        if line.get(figure) is not None and line["seed"] < seeds:
            row = line["sampler"], line["grid"], _guidance(line)
            found[row][line["calls"]][line["seed"]] = line[figure]
    whole = {
        row: {calls: [*each.values()] for calls, each in cells.items() if len(each) == seeds}
        for row, cells in found.items()
    }
    return {row: cells for row, cells in whole.items() if cells}


def _guidance(line: dict[str, Any]) -> str:
    """References have several tuned ones, which are told apart."""
    if line["calls"] != REFERENCE or line["guidance"] == "run":
        return str(line["guidance"])
    words = [word for word in line["words"] if defaults.group(word) == "guidance"]
    return " ".join(word.removeprefix("guidance.") for word in words if "null" not in word)


def table(found: Found) -> str:
    """Rows by their value at the fewest calls, in markdown."""
    calls = sorted({number for row in found.values() for number in row})
    lines = ["| sampler | grid | guidance |" + "".join(f" {number} |" for number in calls)]
    lines.append("|---|---|---|" + "---|" * len(calls))
    for row in sorted(found, key=lambda row: (min(found[row]), min(found[row].items())[1])):
        cells = "".join(f" {_cell(found[row].get(number, []))} |" for number in calls)
        lines.append("".join(f"| {name} " for name in row) + "|" + cells)
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}"


def draw(distances: Found, errors: Found, file: Path) -> None:
    """The distance by sampler and by grid, and the RMSE, over the calls."""
    from dmtool.draw import plot

    calls = sorted({each for row in distances.values() for each in row if each < REFERENCE})
    even = {row: cells for row, cells in distances.items() if row[1:] == ("uniform", "run")}
    best = {row: cells for row, cells in distances.items() if row[0] in GRIDS or "tuned" in row}
    titles = "FD by sampler", "FD by grid", "RMSE of the median picture"
    panels = [
        plot.Panel(title, "calls", [*_curves(found, calls)], log_x=True, limits=_limits(found))
        for title, found in zip(titles, (even, best, errors), strict=True)
    ]
    figure = plot.page(panels)
    for legend in figure.legends:  # the names of all three panels are too many for one line
        legend.remove()
    for axes in figure.axes:
        axes.set_xticks(calls, map(str, calls))
        axes.minorticks_off()
        axes.legend(fontsize=6, ncols=2, loc="upper right")
    plot.write(figure, file)
    if file.suffix == ".png":
        Image.open(file).convert("RGB").quantize(64).save(file, optimize=True)


def _curves(found: Found, calls: list[int]) -> Iterator[Curve]:
    """A curve with the seeds' range for each row, and the reference as a level line."""
    from dmtool.draw import plot

    for row, cells in found.items():
        shown = [each for each in calls if each in cells]
        name = " ".join(part for part in _words(row) if part)
        if shown:
            spread = [(max(cells[each]) - min(cells[each])) / 2 for each in shown]
            yield plot.Curve(name, shown, [mean(cells[each]) for each in shown], spread, marks=True)
        if REFERENCE in cells and any(cells[REFERENCE]):
            level = mean(cells[REFERENCE])
            yield plot.Curve(f"{name}, {REFERENCE} calls", [calls[0], calls[-1]], [level] * 2)


def _words(row: Row) -> tuple[str, ...]:
    sampler, grid, guidance = row
    named = {"run": "", "tuned": "and guidance"}.get(guidance, guidance)
    return "" if sampler == grid else sampler, grid.replace("uniform", ""), named


def _limits(found: Found) -> tuple[float, float]:
    """Of the axis: what is far off is left out."""
    values = [value for cells in found.values() for each in cells.values() for value in each]
    low = min(values, default=0.0)
    return (0.98 * low, 1.12 * low) if low else (0.0, 8.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("measure")
    first.set_defaults(act=measure)
    first.add_argument("out", type=Path)
    first.add_argument("--count", type=int, default=1000, help="captions, one picture each")
    first.add_argument("--seeds", type=int, default=3, help="sets of seeds")
    first.add_argument("--calls", type=int, nargs="+", default=[5, 8, 10, 15, 20, 50])
    first.add_argument("--samplers", nargs="+", default=SAMPLERS)
    first.add_argument("--tuned", type=Path, nargs="+", default=[], help="files of tune-sampler")
    first.add_argument("--compile", action="store_true", help="the U-Net: 1.4 times the speed here")
    second = commands.add_parser("show")
    second.set_defaults(act=show)
    second.add_argument("out", type=Path)
    second.add_argument("--seeds", type=int, default=3, help="sets of seeds")
    second.add_argument("--plot", type=Path, help="PNG or SVG file")
    chosen, words = parser.parse_known_args()
    with exit_codes():
        chosen.act(chosen, words)


if __name__ == "__main__":
    main()
