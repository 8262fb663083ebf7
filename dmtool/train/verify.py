"""`dmtool verify-resume STAGE`: a training that was killed against one that was not."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from dmtool import runs
from dmtool.config.training import Train
from dmtool.device import pick_device
from dmtool.errors import CheckFailed, UserError
from dmtool.files.digests import file_digest
from dmtool.files.tensors import read_tensors
from dmtool.say import say
from dmtool.train import checkpoint

PICTURES = 2000
TOLERANCE = 0.05
"""Of what training changed after the kill: on GPUs sums are not in the same order each time."""


def resume(config: Train, words: list[str]) -> str:
    """Train a stage straight, and again with a kill in the middle, in a temporary run directory.

    `words` are the overrides that `config` was made from. Returns what was found; CheckFailed if
    the two differ: at all on a CPU, by more than `TOLERANCE` elsewhere.
    """
    stage, steps = config.stage, 4 * max(2, round(PICTURES / config.batch_size / 4))
    with TemporaryDirectory(prefix="dmtool-verify-") as root:
        words = [*words, *_settings(config, steps), f"root={root}"]
        straight, killed = (Path(root) / run / stage / "checkpoints" for run in ("a", "b"))
        with _training(stage, "run=a", *words) as process:
            _finish(process)
        with _training(stage, "run=b", *words) as process:
            start = _first(killed, process)
            process.kill()
        written = start.stat().st_mtime_ns
        with _training(stage, "run=b", *words) as process:
            _finish(process)
        if start.stat().st_mtime_ns != written:
            raise CheckFailed(f"the training did not go on from {start.name}: it began anew")
        exact = pick_device(config.device).type == "cpu"
        return compare(straight, killed, start.name, exact=exact)


def compare(straight: Path, killed: Path, start: str, *, exact: bool) -> str:
    """Compare the newest checkpoints of two directories; the second went on from `start`."""
    a, b = max(straight.iterdir()), max(killed.iterdir())
    kill = f"{int(a.name):,} pictures, and with a kill after {int(start):,}"
    if a.name != b.name:
        raise CheckFailed(f"{kill}: the resumed training ended at {int(b.name):,} pictures")
    if _digests(a) == _digests(b):
        return f"{kill}: bit-identical"
    whole = _distance(a, straight / start)
    share = _distance(a, b) / whole if whole else float("inf")
    found = f"{kill}: the weights differ by {share:.2g} of what training changed since"
    if exact or not share <= TOLERANCE:
        allowed = "nothing" if exact else TOLERANCE
        raise CheckFailed(f"{found}; allowed is {allowed}")
    return f"{found}, within the tolerance of {TOLERANCE}"


def _settings(config: Train, steps: int) -> list[str]:
    """A short training with four checkpoints; what it begins from is found by path."""
    pictures = steps * config.batch_size
    seldom = [f"every.{name}={pictures}" for name in ("log", "validate", "preview")]
    words = ["limit.minutes=null", f"limit.pictures={pictures}", *seldom, "every.evaluate=null",
             f"every.checkpoint={pictures // 4}", "keep.last=9", "keep.best=null",
             f"held_out={config.batch_size}", "track=[]"]  # fmt: skip
    words += [f"from.{stage}={_absolute(run, config)}" for stage, run in config.parents.items()]
    if config.init:
        words.append(f"init={_absolute(config.init, config)}")
    return words


def _absolute(run: str, config: Train) -> Path:
    return runs.run_dir(run, config.root).resolve()


@contextmanager
def _training(stage: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [f"train-{stage}", *words]
    say("\n$ dmtool", shlex.join(command), sep=" ")
    with subprocess.Popen([sys.executable, "-m", "dmtool", *command]) as process:
        try:
            yield process
        finally:
            process.kill()


def _finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise UserError(f"a training ended with exit code {process.returncode}; see above")


def _first(folder: Path, process: subprocess.Popen[bytes]) -> Path:
    """Wait for the first checkpoint of a training."""
    while not (found := sorted(folder.glob("[0-9]*"))):
        if process.poll() is not None:
            raise UserError(f"a training ended with exit code {process.returncode}; see above")
        time.sleep(0.01)
    return found[0]


def _digests(folder: Path) -> dict[str, str]:
    """Of all tensors of a checkpoint: the rest says what time it took."""
    return {file.name: file_digest(file) for file in sorted(folder.glob(checkpoint.file("*")))}


def _distance(a: Path, b: Path) -> float:
    """The norm of the difference of two checkpoints' weights."""
    x, y = (read_tensors(path / "model.safetensors") for path in (a, b))
    return sum(_squares(x[name], y[name]) for name in x) ** 0.5


def _squares(x: Tensor, y: Tensor) -> float:
    return (x.double() - y.double()).square().sum().item()
