"""Whether a run that goes on is the training that was begun: by what it hears, not by names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dmtool import codecs, runs
from dmtool.config.parts import DataBase
from dmtool.config.validation import leaves
from dmtool.data import difference
from dmtool.data.source import Source
from dmtool.errors import UserError
from dmtool.runs import Artifact, saved
from dmtool.text import TextEncoder

FREE = {"limit", "every", "evaluate", "keep", "track", "wandb", "alert", "root", "run", "device",
        "preview", "sampler", "guidance", "accumulation", "parallel", "compute", "init", "held_out",
        "timeout", "recovery", "other_pictures", "data.workers", "data.memory_mb",
        "data.max_bad", "data.profiles"}  # fmt: skip
"""Settings that may differ when a run goes on: they change nothing in what is learned
(`compute` its rounding; `data.profiles` what `check_colours` finds)."""

NAMES = {"data.kind", "data.path", "data.size", "data.count", "data.seed", "data.min_objects",
         "data.max_objects", "data.hold_out", "data.max_pixels", "data.splits", "from",
         "text.name"}  # fmt: skip
"""Settings that name what the card knows by content: pictures, an autoencoder, a text encoder."""

SHOWN = 8
"""Settings that a refusal lists."""


@dataclass(frozen=True)
class Begun:
    """A stage that has a checkpoint to go on from; `card` is that of what it exported last."""

    folder: Path
    config: dict[str, Any]
    card: dict[str, Any] | None

    def check_settings(self, config: Mapping[str, Any]) -> None:
        """UserError if other settings would make it another training.

        What only names something is left to the other checks, as far as there is a card.
        """
        free = FREE | NAMES if self.card else FREE
        changed = [
            f"{key}={_short(then)}, now {_short(now)}"
            for key, then, now in differences(self.config, config)
            if not free & {key, key.partition(".")[0]}
        ]
        if changed:
            more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
            raise UserError(
                f"{self.folder} was begun with {'; '.join(changed[:SHOWN])}{more}: take another "
                f"run=, or delete {self.folder} to begin anew"
            )

    def check_pictures(self, source: Source, accepted: bool) -> Source:
        """The source with what the run saw before it; UserError if that was another one, unless
        this is `accepted`."""
        if self.card is None:
            return source
        then, now = self.card["data"], source.fingerprint
        earlier = tuple(then["earlier"])
        if then["fingerprint"] == now:
            return replace(source, earlier=earlier)
        if not accepted:
            raise UserError(
                f"{self.folder} was begun with other pictures "
                f"({difference.told(then['fingerprint'], then['pictures'], source)}; fingerprint "
                f"{then['fingerprint']}, now {now}): put them back, take another run=, or go on "
                "with these by other_pictures=accept, which the card then says"
            )
        until = {"fingerprint": then["fingerprint"], "pictures_seen": self.card["pictures_seen"]}
        return replace(source, earlier=(*earlier, until))

    def check_colours(self, source: Source, config: DataBase) -> None:
        """UserError for other colours, where pictures have profiles that make a difference."""
        then = self.config["data"]["profiles"]
        if source.profiled and then != config.profiles:
            raise UserError(
                f"{self.folder} was begun with data.profiles={then}, and {source.profiled:,} "
                f"pictures have colour profiles: give data.profiles={then}, or take another run="
            )

    def check_parent(self, parent: Artifact) -> None:
        """UserError if it is not of the latent space that the stage was trained in."""
        if self.card is not None:
            codecs.check_space(parent, self.card, self.folder)

    def check_text(self, encoder: TextEncoder | None) -> None:
        """UserError if captions are not read as they were: by other weights, another tokenizer."""
        if self.card is None or encoder is None:
            return
        then, now = self.card["text"], encoder.card()
        for key, before, after in differences(then, now):
            if key not in ("name", "config.name") and before is not None:
                raise UserError(
                    f"{self.folder} was begun with the text encoder {then['name']!r} of "
                    f"{key} {_short(before)}, and the one that is there has {_short(after)}: put "
                    "that one back, or take another run="
                )


def find(folder: Path) -> Begun | None:
    """What stands in a stage's folder; None if it has no checkpoint yet."""
    if not any((folder / "checkpoints").glob("[0-9]*")):
        return None
    artifact = folder / "artifacts" / "default"
    card = runs.load(artifact).card if artifact.is_dir() else None
    return Begun(folder, saved.read(folder), card)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value then, value now) of each leaf that differs; None is one that is not there.

    Of a section whose kind is another one, the kind alone.
    """
    a, b = dict(leaves(then)), dict(leaves(now))
    found = [key for key in (b | a) if a.get(key) != b.get(key)]
    sections = tuple(key.removesuffix("kind") for key in found if key.endswith(".kind"))
    for key in found:
        if key.endswith(".kind") or not key.startswith(sections):
            yield key, a.get(key), b.get(key)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."
