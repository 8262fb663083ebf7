"""What the training loop costs beside the network, and what a second process gains.

    python scripts/bench_loop.py loop [OVERRIDES]
    python scripts/bench_loop.py processes [OVERRIDES]

Both train the demo's noise predictor for a while, on latents of an autoencoder that has hardly
been trained. `loop`: the overhead is all time but the forward and backward pass and the optimizer's
step, as a share of whole steps. `processes`: pictures/s of two processes over twice those of one,
with the same batch and one thread each, in turn: 1 is a perfect division of labour.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dmtool.config import compose
from dmtool.config.stages import TrainUnet
from dmtool.config.validation import validate
from dmtool.train import stages
from dmtool.train.stages import unet
from dmtool.train.step import Step

STEPS, WARM, REPEATS = 40, 8, 3
"""Steps of a training, those at its beginning that do not count, trainings of each kind."""

VAE = ["experiment=demo_vae", "limit.minutes=null", "limit.pictures=16", "held_out=16"]
UNET = ["experiment=demo_unet", "limit.minutes=null", "batch_size=64", "held_out=16",
        f"limit.pictures={64 * STEPS}", "sampler.steps=1", "preview.prompts=[a]"]  # fmt: skip

Spent = dict[str, list[float]]


def loop(root: str, overrides: list[str]) -> None:
    """Print the time of each part of a step, and the overhead."""
    spent: Spent = defaultdict(list)
    begun: list[float] = []
    for owner, name, part in ((unet.UnetStage, "losses", "forward"),
                              (torch.Tensor, "backward", "backward"),
                              (Step, "_update", "optimizer"), (Step, "settle", "averages"),
                              (Step, "__call__", "step")):  # fmt: skip
        _timed(owner, name, spent[part], begun if part == "step" else [])
    config = compose.composed("train_unet", [*UNET, f"root={root}", "run=bench", *overrides])
    stages.train(validate(config, TrainUnet))
    whole = (begun[-1] - begun[WARM]) / (len(begun) - 1 - WARM)
    parts = {name: _per_step(times, len(begun)) for name, times in spent.items()}
    parts["between steps"] = whole - parts.pop("step")
    for name, each in parts.items():
        print(f"{name:14} {1000 * each:8.2f} ms {each / whole:7.1%}")
    network = sum(parts[name] for name in ("forward", "backward", "optimizer"))
    print(f"{'overhead':14} {1000 * (whole - network):8.2f} ms {1 - network / whole:7.1%}")


def _timed(owner: Any, name: str, spent: list[float], begun: list[float]) -> None:
    """From now on the function notes how long it takes, and when it was called."""
    function: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any, **named: Any) -> Any:
        begun.append(_now())
        result = function(*args, **named)
        spent.append(_now() - begun[-1])
        return result

    setattr(owner, name, timed)


def _now() -> float:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


def _per_step(times: list[float], steps: int) -> float:
    """Seconds a step; what is called several times in one counts in whole."""
    return sum(times[WARM * len(times) // steps :]) / (steps - WARM)


def processes(root: str, overrides: list[str]) -> None:
    """Print the scaling efficiency of two processes."""
    ratios = []
    for repeat in range(REPEATS):
        one, two = (_rate(count, root, f"{count}-{repeat}", overrides) for count in (1, 2))
        ratios.append(two / (2 * one))
        print(f"{one:.1f} and {two:.1f} pictures/s: {ratios[-1]:.3f}", flush=True)
    print(f"efficiency: {statistics.median(ratios):.3f} (median of {REPEATS})")


def _rate(count: int, root: str, run: str, overrides: list[str]) -> float:
    """Pictures per second of a training on so many processes of one thread."""
    words = ["train-unet", *UNET, f"root={root}", f"run={run}", "from.vae=bench", "every.log=64"]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    _python(*launcher, "-m", "dmtool", *words, *overrides, OMP_NUM_THREADS="1")
    lines = map(json.loads, (Path(root) / run / "unet/metrics.jsonl").open())
    seen = [(line["seconds"], line["pictures"]) for line in lines if "loss" in line][WARM:]
    (first, before), (last, after) = seen[0], seen[-1]
    return (after - before) / (last - first)


def _python(*words: str, **environment: str) -> None:
    subprocess.run([sys.executable, *words], env=os.environ | environment, check=True)


def main(job: str, *overrides: str) -> None:
    with TemporaryDirectory(prefix="dmtool-bench-") as root:
        _python("-m", "dmtool", "train-vae", *VAE, f"root={root}", "run=bench")
        {"loop": loop, "processes": processes}[job](root, list(overrides))


if __name__ == "__main__":
    main(*sys.argv[1:])
