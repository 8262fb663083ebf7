"""What a run tells: the progress bar, metrics.jsonl, and Weights & Biases by a switch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from dmtool import runs
from dmtool.schemas import Train
from dmtool.train.checkpoint import Progress

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
PARTS = 10_000  # of the bar: it shows progress in [0, 1], be it of pictures or of minutes


class Log:
    """Scalars are collected on the device and fetched only when a line is written."""

    def __init__(
        self, folder: Path, config: Train, stage: str, pictures: int, accelerator: Accelerator
    ) -> None:
        self.accelerator, self.stage = accelerator, stage
        self.main = accelerator.is_main_process
        self.path = folder / "metrics.jsonl"
        self.lr = 0.0
        self._totals: dict[str, Tensor] = {}
        self._since = time.monotonic(), pictures
        self._bar: Any = None
        if self.main:
            _forget_after(self.path, pictures)
        self.wandb = _wandb(folder, config, stage) if self.main else None

    def say(self, text: str) -> None:
        """One line to the user, from the main process only."""
        if self.main:
            tqdm.write(f"{self.stage}: {text}")

    @contextmanager
    def bar(self, fraction: float) -> Iterator[None]:
        """A progress bar with loss, pictures/s and ETA."""
        first = int(fraction * PARTS)
        with tqdm(
            total=PARTS, initial=first, desc=self.stage, bar_format=BAR, disable=not self.main
        ) as self._bar:
            yield
        if self.wandb is not None:
            self.wandb.finish()

    def advance(self, fraction: float) -> None:
        """Move the bar to this progress in [0, 1]."""
        self._bar.update(int(min(fraction, 1) * PARTS) - self._bar.n)

    def collect(self, values: dict[str, Tensor]) -> None:
        """Add all finite numbers to the means of the next line; nothing is fetched from the device.

        Names must be the same on all processes.
        """
        for name, value in values.items():
            value = value.detach().float()
            finite = value.isfinite()
            total = torch.stack([torch.where(finite, value, 0).sum(), finite.sum()])
            self._totals[name] = self._totals.get(name, 0) + total

    def write(self, progress: Progress, more: dict[str, float]) -> None:
        """Write the means since the last line, over all processes, and what main adds."""
        names = list(self._totals)
        totals = self.accelerator.reduce(torch.stack([self._totals[name] for name in names]))
        means = (totals[:, 0] / totals[:, 1]).tolist()
        figures = {name: mean for name, mean in zip(names, means, strict=True) if mean == mean}
        self._totals = {}
        now, (then, seen) = time.monotonic(), self._since
        rate = (progress.pictures - seen) / max(now - then, 1e-9)
        self._since = now, progress.pictures
        loss = figures.get("loss", math.nan)
        self._bar.set_postfix_str(f"{loss:.4f} loss, {rate:.0f} pictures/s")
        self.figures(progress, figures | {"lr": self.lr, "pictures_per_second": rate, **more})

    def figures(self, progress: Progress, figures: dict[str, float]) -> None:
        """Append one line to metrics.jsonl."""
        if not self.main:
            return
        line = {"pictures": progress.pictures, "seconds": round(progress.seconds, 3), **figures}
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
        if self.wandb is not None:
            self.wandb.log(figures, step=progress.pictures)

    def picture(self, progress: Progress, path: Path) -> None:
        """Show a preview where there is somebody to show it to."""
        if self.wandb is not None:
            import wandb

            self.wandb.log({"preview": wandb.Image(str(path))}, step=progress.pictures)


def _forget_after(path: Path, pictures: int) -> None:
    """Drop the lines that a run going on from `pictures` will write again."""
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
        kept = [line for line in lines if json.loads(line)["pictures"] <= pictures]
        runs.write_text(path, "".join(f"{line}\n" for line in kept))


def _wandb(folder: Path, config: Train, stage: str) -> Any:
    if config.wandb.mode == "disabled":
        return None
    import wandb

    return wandb.init(
        project=config.wandb.project,
        name=f"{config.run}/{stage}",
        dir=folder,
        mode=config.wandb.mode,
        resume="allow",
        id=f"{folder.parent.name}-{stage}",
    )
