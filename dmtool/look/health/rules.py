"""What is wrong with a training whatever it trains: rules over its logged figures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dmtool.config.base import Count
from dmtool.config.optim import Optim
from dmtool.config.training import Recovery
from dmtool.look.watch.state import StageStatus
from dmtool.runs import metrics
from dmtool.say import counted
from dmtool.train import optim

ENOUGH = 8  # lines for a course to be judged
RISE = 1.5  # of the loss over its lowest quarter
GROWTH = 4.0  # of the gradient's norm over that of the second quarter
COLLAPSE = 0.5  # of pictures/s, to the fastest quarter
SKIPS = 0.01  # of all steps, as not finite
OFF = 0.1  # of the highest learning rate, that it may differ from its schedule
APART = (0.01, 10.0)  # of a critic's logits, at least and at most
FAR = 0.5  # distance of the averaged weights, as a share of the weights' norm


@dataclass(frozen=True)
class Finding:
    """What a look at a run found, in a line; `healthy` is None for what was not judged."""

    healthy: bool | None
    text: str


def findings(status: StageStatus) -> list[Finding]:
    """All that can be judged of a run, healthy or not."""
    rules = (
        _finite, _skipped, _loss, _gradient, _critic, _throughput, _rate, _average, _stalls,
    )  # fmt: skip
    return [finding for rule in rules if (finding := rule(status)) is not None]


def _finite(status: StageStatus) -> Finding:
    bad = [
        f"{name} is {value} at {line['pictures']:,} pictures"
        for line in status.lines
        for name, value in line.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    return Finding(not bad, bad[0] if bad else "all figures are finite")


def _skipped(status: StageStatus) -> Finding | None:
    counts = metrics.series(status.lines, "skipped")
    if not counts:
        return None
    pictures, count = counts[-1]
    share = count * status.part("batch_size", Count) / max(pictures, 1)
    return Finding(
        share <= SKIPS, f"{counted(round(count), 'step was', 'steps were')} skipped: {share:.2%}"
    )


def _quarters(status: StageStatus, name: str) -> list[float] | None:
    values = [value for _, value in metrics.series(status.lines, name) if math.isfinite(value)]
    return metrics.quarters(values) if len(values) >= ENOUGH else None


def _loss(status: StageStatus) -> Finding | None:
    medians = _quarters(status, "loss")
    if medians is None:
        return None
    text = f"the loss of the last quarter is {medians[3]:.4g}, the lowest was {min(medians):.4g}"
    return Finding(medians[3] - min(medians) <= (RISE - 1) * abs(min(medians)), text)


def _gradient(status: StageStatus) -> Finding | None:
    medians = _quarters(status, "grad_norm")
    if medians is None:
        return None
    text = f"the gradient norm of the last quarter is {medians[3]:.3g}, it was {medians[1]:.3g}"
    return Finding(medians[3] <= GROWTH * medians[1], text)


def _critic(status: StageStatus) -> Finding | None:
    """A critic that tells nothing apart judges by chance; one whose logits run away is not heard
    where it would help."""
    real, fake = (_quarters(status, f"critic_{side}") for side in ("real", "fake"))
    if real is None or fake is None:
        return None
    apart = real[3] - fake[3]
    text = (
        f"the critic's logits of real and made pictures are {apart:.3g} apart in the last quarter"
    )
    return Finding(APART[0] <= apart <= APART[1], text)


def _throughput(status: StageStatus) -> Finding | None:
    medians = _quarters(status, "pictures_per_second")
    if medians is None:
        return None
    text = f"the last quarter saw {medians[3]:.0f} pictures/s, the fastest {max(medians):.0f}"
    return Finding(medians[3] >= COLLAPSE * max(medians), text)


def _rate(status: StageStatus) -> Finding | None:
    """Its last step's rate, against the schedule: its course by the pictures and seconds before the
    step, its warm-up by those after it.

    Each time that the run went back has lowered it.
    """
    lines = [line for line in status.lines if "lr" in line]
    if not lines:
        return None
    config, line = status.part("optim", Optim), lines[-1]
    before = line["pictures"] - status.part("batch_size", Count)
    factor = optim.factor(config, line["pictures"], status.fraction(before, line["seconds"]))
    factor *= status.part("recovery", Recovery).lr_factor ** line.get("rollbacks", 0)
    text = (
        f"the learning rate is {line['lr']:.3g} at {line['pictures']:,} pictures, "
        f"the schedule says {config.lr * factor:.3g}"
    )
    return Finding(abs(line["lr"] - config.lr * factor) <= OFF * config.lr, text)


def _average(status: StageStatus) -> Finding | None:
    distances = metrics.series(status.lines, "ema_distance")
    if not distances:
        return None
    pictures, distance = distances[-1]
    text = f"the averaged weights are {distance:.2g} of the weights' norm away from them"
    return Finding(distance <= FAR, f"{text} at {pictures:,} pictures")


def _stalls(status: StageStatus) -> Finding:
    if status.alert:
        return Finding(False, status.alert)
    if status.silent:
        return Finding(None, f"it is not complete, and has logged nothing for {status.age:,.0f} s")
    count = sum("alert" in line for line in status.lines)
    return Finding(True, f"it stalled {count} times, and went on" if count else "no stalls")
