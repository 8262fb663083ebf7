"""Formats of what a run keeps, and the steps from each one to the next.

    CONFIG  a stage's config.yaml          CARD  an artifact's card.json
    CURVE  a reference curve of check-run

A key that is new gets, in what is older, the value that reproduces what was before there was such
a key, which need not be today's default. That is one line in the newest format's list of steps:

    new("text.dtype", "fp32", kind="hf"),

Files are never written anew: what is read is brought to today's format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtool.errors import UserError

Values = dict[str, Any]
Step = Callable[[Values], None]
"""Turns values of one format into those of the next, in place."""


@dataclass(frozen=True)
class Format:
    """`steps` lead to each format from the one before; `unnumbered` is that of what has no number,
    None if there never was such."""

    steps: Mapping[int, list[Step]]
    unnumbered: int | None = None

    @property
    def now(self) -> int:
        return max(self.steps)

    @property
    def oldest(self) -> int:
        """The first that can be read."""
        return min(self.steps) - 1

    def migrate(self, values: Values, version: int) -> Values:
        """The values of one format as today's has them; the given ones stay as they are."""
        found = deepcopy(values)
        for number in range(version + 1, self.now + 1):
            for step in self.steps[number]:
                step(found)
        return found | {"format": self.now}

    def read(self, values: Values, path: Path) -> Values:
        """The same by the number that they bear; UserError if it is none that can be read."""
        number = values.get("format", self.unnumbered)
        if type(number) is not int or not self.oldest <= number <= self.now:
            newer = isinstance(number, int) and number > self.now
            raise UserError(
                f"{path} has format {number}, this dmtool reads {self.oldest} to {self.now}: "
                + ("install a newer dmtool" if newer else "it cannot be used")
            )
        return self.migrate(values, number)


def new(key: str, before: Any, *, kind: str | None = None, beside: str | None = None) -> Step:
    """A dotted key that is new: where it is missing, `before` says what was done without it.

    It is given to the section that it stands in, if that is there: one of this `kind`, and one that
    has a key `beside` it, if these are named.
    """
    *sections, name = key.split(".")

    def step(values: Values) -> None:
        section: Any = values
        for each in sections:
            section = section.get(each) if isinstance(section, dict) else None
        if not isinstance(section, dict) or kind not in (None, section.get("kind")):
            return
        if beside is None or beside in section:
            section.setdefault(name, deepcopy(before))

    return step


def renamed(key: str, before: str, now: str) -> Step:
    """A key whose value has another name than it had."""

    def step(values: Values) -> None:
        if values.get(key) == before:
            values[key] = now

    return step


def moved(key: str, to: str) -> Step:
    """A key that stands in another section now, where both are there."""
    (section, name), (other, new_name) = key.split("."), to.split(".")

    def step(values: Values) -> None:
        found, place = values.get(section), values.get(other)
        if isinstance(found, dict) and name in found and isinstance(place, dict):
            place.setdefault(new_name, found.pop(name))

    return step


CONFIG = Format(
    unnumbered=1,
    steps={
        2: [
            new("noise.shift", {"kind": "fixed", "value": 1.0}, kind="flow"),
            new("noise.variance", {"kind": "fixed"}),
            new("every.evaluate", None),
            new("evaluate", {
                "count": 500,
                "metrics": ["fd", "kid", "retrieval"],
                "extractor": {"kind": "effnet_lite0", "weights": None},
            }, beside="every"),
            new("evaluate.max_real", None),
            new("sampler.grid.shift", 1.0, kind="uniform"),
            new("sampler.threshold", {"kind": "none"}),
            new("guidance.perturbed", {"scale": 0.0, "levels": [-1]}),
            new("data.hold_out", [], kind="shapes"),
            new("loss.saturating", False, beside="reconstruction"),
            new("data.splits", "hash", kind="folder"),
            new("other_pictures", "refuse", beside="every"),
            new("text.dtype", "fp32", kind="hf"),
            new("text.padding", "native", kind="hf"),
        ],
        3: [new("data.profiles", "ignore")],
        4: [
            moved("loss.kl", "vae.beta"),
            new("vae.free_bits", 0.0, kind="kl"),
            new("vae.warmup", 0, kind="kl"),
            new("adversarial", {"kind": "none"}, beside="vae"),
            new("corruption", {"kind": "none"}, beside="vae"),
        ],
    },
)  # fmt: skip

CARD = Format(
    steps={
        3: [
            new("network.outputs", 1, beside="text_dim"),
            new("data.pictures", None),
            new("data.validated_on", None),
            new("data.earlier", []),
            new("text.config.dtype", "fp32", kind="hf"),
            new("text.config.padding", "native", kind="hf"),
        ],
        4: [
            new("data.transform", {"profiles": "ignore"}),
            new("text.tokenizer", None),
        ],
        5: [
            new("network.kind", "unet", beside="text_dim"),
            renamed("role", "noise predictor", "generator"),
            renamed("kind", "unet", "diffusion"),
        ],
    },
)

CURVE = Format(steps={2: [new("config_format", 1)]})
