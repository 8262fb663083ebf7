"""`dmtool ema`: other lengths of a trained stage's average, measured and exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, reduce
from typing import Any

import torch

from dmtool import runs
from dmtool.config.stages import STAGES
from dmtool.config.training import Train
from dmtool.config.using import Lengths
from dmtool.config.validation import check
from dmtool.data import source
from dmtool.device import autocast, pick_device, pick_dtype
from dmtool.diffusion.network import for_use
from dmtool.errors import UserError
from dmtool.runs import fitting, saved
from dmtool.say import say
from dmtool.train import posthoc, snapshots
from dmtool.train.begun import Begun
from dmtool.train.posthoc import Fit
from dmtool.train.stage import Stage
from dmtool.train.stages.kinds import KINDS


def reconstruct(config: Lengths, sigma_rel: float) -> None:
    """Export the average of one width as the artifact `ema-WIDTH`, with its held-out figures."""
    average = Averages(config)
    found = posthoc.checked(average.snapshots, sigma_rel)
    average.apply(found)
    say(average.export(sigma_rel, found, average.measure()))


def search(config: Lengths, widths: Sequence[float], metric: str | None, keep: bool) -> None:
    """Print the held-out figures of some widths; export the best of them if `keep`."""
    average = Averages(config)
    measured = average.train.figures
    chosen = metric or next(iter(measured))
    if chosen not in measured:
        raise UserError(f"--metric {chosen} is none of {', '.join(measured)}")
    found = {width: posthoc.checked(average.snapshots, width) for width in widths}
    figures = {}
    for width in widths:
        average.apply(found[width])
        figures[width] = average.measure()
    top = reduce(measured[chosen], (each[chosen] for each in figures.values()))
    best = next(width for width in widths if figures[width][chosen] == top)
    say("sigma_rel", "error", *measured, sep="\t")
    for width in widths:
        values = [f"{figures[width][name]:.5g}" for name in measured]
        mark = [f"best {chosen}"] if width == best else []
        say(f"{width:g}", f"{found[width].error:.1%}", *values, *mark, sep="\t")
    if keep:
        average.apply(found[best])
        say(average.export(best, found[best], figures[best]))


class Averages:
    """A trained stage whose network takes up averages of any width, made from its snapshots."""

    def __init__(self, config: Lengths) -> None:
        self.default = runs.find(config.run, config.stage, config.root)
        self.folder = runs.run_dir(config.run, config.root) / config.stage
        self.snapshots = snapshots.find(self.folder / "snapshots")
        if not self.snapshots:
            raise UserError(
                f"{self.folder} has no snapshots: it was trained with ema.snapshots=[], or has not "
                "come to the first one (every.snapshot)"
            )
        self.place = config.data.path
        self.train = self._trained_as(STAGES[config.stage])
        self.device = pick_device(config.device)

    @cached_property
    def stage(self) -> Stage:
        """As it was trained; built when first needed: wrong widths are refused before that."""
        before, kind = Begun(self.folder, {}, self.default.card), KINDS[type(self.train)]
        if parent := kind.parent(self.train):
            before.check_parent(parent)
        loaded = source.again(self.train.data, self.default.card["data"], self.place)
        torch.manual_seed(self.train.seed)
        stage = kind.build(self.train, self.device, loaded)
        before.check_text(stage.text)
        stage.network.to(self.device).eval()
        return stage

    def _trained_as(self, schema: type[Train]) -> Train:
        """The stage's own config, for where its run stands now."""
        run = self.folder.parent
        found = check(saved.read(self.folder), schema)
        return replace(found, run=run.name, root=str(run.parent))

    def apply(self, found: Fit) -> None:
        """Give the network the weights of a fit."""
        weights = posthoc.combine(self.snapshots, found.weights)
        reason = fitting.difference(
            self.stage.network.state_dict(), {name: x.shape for name, x in weights.items()}
        )
        if reason:
            raise UserError(f"{self.folder}: the snapshots are of another network: {reason}")
        self.stage.network.load_state_dict(weights)

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """The stage's held-out figures of the network as it is now."""
        with autocast(self.device, pick_dtype(self.train.dtype, self.device)):
            return self.stage.validate()

    @torch.no_grad()
    def export(self, sigma_rel: float, found: Fit, metrics: dict[str, float]) -> str:
        """Write the network as it is now to `artifacts/ema-WIDTH`; a line that says so."""
        name = f"ema-{sigma_rel:g}"
        path = self.folder / "artifacts" / name
        card, more = self.stage.card(path)
        card |= {**self._progress(), "ema": self._card(sigma_rel, found), "metrics": metrics}
        runs.save(path, for_use(self.stage.network.state_dict()), card, more)
        figures = ", ".join(f"{key} {value:.5g}" for key, value in metrics.items())
        return f"{path} ({figures}); use it with artifact={name}"

    def _progress(self) -> dict[str, Any]:
        seen, default = self.snapshots[-1].pictures, self.default.card
        complete = default["complete"] and default["pictures_seen"] == seen
        return {"pictures_seen": seen, "complete": complete}

    def _card(self, sigma_rel: float, found: Fit) -> dict[str, Any]:
        """That this average was not tracked, what it was made of, and how near its profile is."""
        return {
            "kind": "power",
            "sigma_rel": sigma_rel,
            "reconstructed_from": {
                "pictures": sorted({each.pictures for each in self.snapshots}),
                "sigma_rel": sorted({each.sigma_rel for each in self.snapshots}),
            },
            "profile_error": found.error,
        }
