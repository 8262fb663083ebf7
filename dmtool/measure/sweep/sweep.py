"""`dmtool eval-sweep`: each combination of settings measured once, and which of them to take."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmtool import processes, runs
from dmtool.chain import pipeline
from dmtool.config import words
from dmtool.config.compose import composed
from dmtool.config.stages import TrainUnet
from dmtool.config.using import Defaults, Enlarging, EvalFid
from dmtool.draw import plot
from dmtool.errors import UserError
from dmtool.files import cache, outputs
from dmtool.files.atomic import write_json
from dmtool.measure import compare, fid
from dmtool.measure.record import own_version
from dmtool.measure.result_file import place
from dmtool.measure.sweep import sweep_plot
from dmtool.measure.sweep.choices import Setting, combinations
from dmtool.measure.sweep.front import front
from dmtool.processes import Group
from dmtool.runs import defaults, results
from dmtool.say import say

NEUTRAL = ("root", "device", "timeout", "batch_size", "data")
"""Settings that no figure depends on."""


@dataclass(frozen=True)
class Axes:
    """The figures that are compared: `quality` (smaller is better) and `alignment` (larger)."""

    group: str
    quality: str
    alignment: str

    def of(self, result: dict[str, Any]) -> tuple[float, float]:
        """Both figures of a result; UserError names what it has."""
        figures = result["figures"].get(self.group)
        if figures is None:
            raise UserError(f"no group {self.group!r}; there are: {', '.join(result['figures'])}")
        for name in (self.quality, self.alignment):
            if not isinstance(figures.get(name), int | float):
                raise UserError(f"no figure {name!r}; there are: {', '.join(figures)}")
        return figures[self.quality], figures[self.alignment]


@dataclass(frozen=True)
class Point:
    """A setting with its figures; `on_front`: no other one is better in both."""

    setting: Setting
    config: EvalFid
    quality: float
    alignment: float
    on_front: bool


def sweep(said: Sequence[str], axes: Axes, keep: bool, out: Path | None) -> None:
    """Measure all combinations of what was `said`, write and print them, and draw the curves.

    What is measured is kept by its settings and weights, so a sweep that was stopped, or is made
    wider, measures only what is new. With `keep` the setting of the best quality becomes what its
    artifact samples with.
    """
    settings = combinations(said)
    if out is not None:
        out = outputs.folder(out)
        outputs.file(out / "sweep.json", outputs.EVALUATION)
        outputs.file(out / "sweep.png", outputs.PICTURE)
    configs = [_config(each) for each in settings]
    with processes.of(configs[0]) as (group, _):
        found = [_measured(config, group) for config in configs]
        if group.main:
            compare.check("the sweep", found, force=False)
            points = _points(settings, configs, found, axes)
            folder = out or runs.run_dir(configs[0].run, configs[0].root) / "eval"
            _write(folder, points, found[0], axes)
            if keep:
                _keep(points)


def _config(setting: Setting) -> EvalFid:
    return defaults.tuned(composed("eval_fid", setting.words), setting.words, EvalFid)


def _measured(config: EvalFid, group: Group) -> dict[str, Any]:
    """The figures of a setting, from its file if it has been measured before."""
    key = {name: value for name, value in asdict(config).items() if name not in NEUTRAL}
    key |= {"checkpoints": _checkpoints(config), "dmtool": own_version()}
    path = place(config, f"sweep/{cache.address(key)[:16]}")
    known = results.known(path)
    if known is not None:
        return known
    result = fid.measure(config, group)
    if group.main:
        write_json(path, result)
    group.wait()
    return result


def _checkpoints(config: EvalFid) -> list[str]:
    """The sha256 of all weights that a setting is measured with."""
    used, bad = [runs.generator(config)], config.guidance.bad
    used += filter(None, [pipeline.upsampler_artifact(config)])
    if bad is not None:
        run = config.from_.bad or config.from_.unet or config.run
        used.append(runs.find(run, TrainUnet.stage, config.root, bad))
    return [artifact.card["sha256"] for artifact in used]


def _points(
    settings: Sequence[Setting],
    configs: Sequence[EvalFid],
    found: Sequence[dict[str, Any]],
    axes: Axes,
) -> list[Point]:
    figures = [axes.of(result) for result in found]
    best = front(*zip(*figures, strict=True))
    return [
        Point(setting, config, *values, on_front)
        for setting, config, values, on_front in zip(settings, configs, figures, best, strict=True)
    ]


def _write(folder: Path, points: Sequence[Point], result: dict[str, Any], axes: Axes) -> None:
    """`sweep.json`, `sweep.png` and the table."""
    names = axes.quality, axes.alignment
    figures = {
        point.setting.label: {
            axes.quality: point.quality, axes.alignment: point.alignment, "front": point.on_front,
        }
        for point in points
    }  # fmt: skip
    rest = {k: v for k, v in result.items() if k not in ("figures", "warnings", "settings")}
    write_json(folder / "sweep.json", rest | {"group": axes.group, "figures": figures})
    drawn = plot.page([sweep_plot.panel(points, names)], inches=(6.4, 4.2))
    plot.write(drawn, folder / "sweep.png")
    width = max(len(point.setting.label) for point in points)
    say(f"{'':{width}}  {axes.quality:>10}  {axes.alignment:>10}  ({axes.group})")
    for point in points:
        mark = "  on the front" if point.on_front else ""
        label = f"{point.setting.label:{width}}"
        say(f"{label}  {point.quality:>10.4g}  {point.alignment:>10.4g}{mark}")
    say(f"written to {folder / 'sweep.json'}, drawn in {folder / 'sweep.png'}")


def _keep(points: Sequence[Point]) -> None:
    """The setting of the best quality becomes the defaults of its artifact: in the groups that its
    words are of, and in those that have defaults already."""
    best = min(points, key=lambda point: point.quality)
    config = best.config
    artifact = runs.generator(config)
    stored = defaults.read(artifact)
    groups = {defaults.group(word) for word in best.setting.words}
    if stored and config.tuned:
        groups |= {name for name, value in vars(stored.settings).items() if value is not None}
    settings = _settings(config, groups)
    found = {"by": "eval-sweep", "quality": best.quality, "alignment": best.alignment}
    found |= {"split": config.split, "seed": config.seed}
    path = defaults.file(artifact)
    defaults.write(path, artifact, settings, found)
    line = " ".join(words.of_defaults(settings))
    say(f"{line} is what {artifact.path} samples with from now on: {path}")


def _settings(config: EvalFid, groups: Container[str]) -> Defaults:
    """What a config has in these groups; of an upsampler only where there is one."""
    enlarged = "upsample" in groups and pipeline.upsampler_artifact(config) is not None
    upsample = config.upsample
    return Defaults(
        sampler=config.sampler if "sampler" in groups else None,
        guidance=config.guidance if "guidance" in groups else None,
        upsample=Enlarging(augmentation=upsample.augmentation, sampler=upsample.sampler)
        if enlarged
        else None,
    )
