"""`dmtool eval-memory`: does a noise predictor give its training pictures back?

Memorising and learning both bring samples near to training pictures, and whatever paints them
brings them away again. So the samples stand between two ends, both as the same decoder (and
upsampler) gives them back: held-out pictures, where learning leads, and training pictures, which
is perfect memory. No figure tells a copy from a new picture of a set that holds almost the same
picture many times: the closest pairs are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dmtool import processes
from dmtool.chain import pipeline
from dmtool.chain.pipeline import Pipeline, Request
from dmtool.config.evaluating import EvalMemory
from dmtool.files import outputs
from dmtool.measure import real_pictures
from dmtool.measure.decoders.decoded import decoded
from dmtool.measure.decoders.pairs import side_by_side
from dmtool.measure.distances.lot import Lot
from dmtool.measure.features import extractors, features
from dmtool.measure.memory import nearness
from dmtool.measure.memory.nearness import Close
from dmtool.measure.memory.neighbours import nearest
from dmtool.measure.real_pictures import RealPictures
from dmtool.measure.record import record
from dmtool.measure.result_file import place, publish
from dmtool.processes import Group
from dmtool.say import columns, say

Rows = Sequence[int]

SHOWN = 20
"""Closest pairs that are drawn and listed."""

NAMES = {
    "samples": "samples",
    "held_out_decoded": "held-out pictures, decoded",
    "train_decoded": "training pictures, decoded",
    "held_out": "held-out pictures",
}
"""The sets that are compared with the training pictures; the figures' groups, with `train`."""

PROTOCOL = (
    "Euclidean distance of features to the nearest training picture's; near duplicates by cosine"
)


@dataclass(frozen=True)
class Painter:
    """What a chain makes of some rows of the set: uint8 pictures [3, H, W], in their order."""

    chain: Pipeline
    real: RealPictures
    seed: int

    def samples(self, rows: Rows) -> Iterator[Tensor]:
        """New pictures of the captions, each drawn from (seed, row)."""
        captions = self.real.captions
        requests = (Request(captions[row], (self.seed, row)) for row in rows)
        return (picture.pixels for picture in self.chain.pictures(requests))

    def decoded(self, rows: Rows) -> Iterator[Tensor]:
        """The pictures themselves, through the latents (and the upsampler) and back."""
        pictures = (self.real.take([row])[0] for row in rows)
        captions = [self.real.captions[row] for row in rows]
        return decoded(self.chain, pictures, captions, [(self.seed, row) for row in rows])


def run(config: EvalMemory, out: Path | None) -> None:
    """Sample one picture for each chosen caption, find their nearest training pictures, write and
    print the figures, and draw the closest pairs beside the JSON file."""
    with processes.of(config) as (group, _):
        chain = pipeline.load(config)
        real = real_pictures.of_chain(chain, config)
        painter = Painter(chain, real, config.seed)
        result, pairs = _measure(config, painter, group)
        if group.main:
            path = out or place(config, f"memory-{config.split}")
            publish(result, summary(result), path)
            # the samples are painted again: they are not kept while they are measured
            again = list(painter.samples([pair.row for pair in pairs["samples"]]))
            _draw(pairs["samples"], torch.stack(again), real, path, "closest")
            theirs = real.take([pair.row for pair in pairs["held_out"]])
            _draw(pairs["held_out"], theirs, real, path, "held-out")


def _measure(
    config: EvalMemory, painter: Painter, group: Group
) -> tuple[dict[str, Any], dict[str, list[Close]]]:
    """On the main process, all that is written, and the closest pairs of two sets."""
    real, chain = painter.real, painter.chain
    train, kept = real.rows(None, "train"), real.rows(config.count, "val", "test")
    rows = {
        "samples": real.rows(config.count, config.split),
        "held_out_decoded": kept,
        "train_decoded": real.rows(config.count, "train"),
        "held_out": kept,
    }
    extractor = extractors.load(config.extractor, chain.device)
    known = real.features(extractor, config.batch_size)

    def seen(paint: Callable[[Rows], Iterator[Tensor]], name: str) -> Any:
        mine = group.share(rows[name])
        bar = tqdm(paint(mine), total=len(mine), desc=NAMES[name], disable=group.silent)
        found = features.extract(extractor, bar, config.batch_size)
        return np.array(group.merge(list(found)))

    sets = {"samples": seen(painter.samples, "samples")}
    sets |= {name: seen(painter.decoded, name) for name in ("held_out_decoded", "train_decoded")}
    if not group.main:
        return {}, {}
    sets["held_out"] = known[kept]
    found = {name: nearest(each, known[train]) for name, each in sets.items()}
    pairs = {
        name: nearness.closest(found[name], rows[name], train, SHOWN)
        for name in ("samples", "held_out")
    }
    figures = nearness.figures(found, known[train])
    lot = Lot([real.keys[row] for row in train], config.max_train, config.seed)
    chosen = lot(np.arange(len(train)))
    alike = nearness.near_duplicates(known[train], known[kept], config.threshold, chosen)
    figures["held_out"] |= alike["held_out"]
    figures["train"] = {"n": len(chosen), **alike["train"]}
    protocol = {"split": config.split, "seed": config.seed, **real.describe(rows["samples"])}
    protocol |= {"figures": PROTOCOL, "threshold": config.threshold}
    protocol |= lot.protocol("max_train", len(train))
    return record(extractor, len(train), len(rows["samples"])) | {
        "metric": f"distance to the nearest training picture by {extractor.name}",
        "figures": figures,
        "protocol": protocol,
        "settings": chain.settings() | {"ema": chain.card["ema"]},
        "warnings": [],
        "examples": {name: [_listed(p, real) for p in each] for name, each in pairs.items()},
    }, pairs


def summary(result: dict[str, Any]) -> str:
    """The figures as lines of text."""
    found = result["figures"]
    heads = ["", "N", "5 %", "median", "95 %", "AuthPct", "a sample is nearer"]
    table = [heads]
    for name, said in NAMES.items():
        each = found[name]
        distances = [f"{each['distance'][q]:.3f}" for q in ("q5", "q50", "q95")]
        nearer = f"{each['closer']:.1%}" if "closer" in each else ""
        table.append([said, str(each["n"]), *distances, f"{each['auth_pct']:.1f}", nearer])
    train, kept, protocol = found["train"], found["held_out"], result["protocol"]
    return "\n".join([
        f"captions of the split {protocol['split']!r}; distances to the nearest of "
        f"{result['n_real']:,} training pictures by the features of {result['extractor']['name']}",
        *columns(table),
        f"a training picture has another one like it (cosine {protocol['threshold']:g}): "
        f"{train['near_duplicate']:.1%}, the very same: {train['same']:.1%}",
        f"a held-out picture has a training picture like it: {kept['near_duplicate']:.1%}, "
        f"the very same: {kept['same']:.1%}",
    ])  # fmt: skip


def _listed(pair: Close, real: RealPictures) -> dict[str, Any]:
    return {
        "distance": pair.distance,
        "caption": real.captions[pair.row],
        "key": real.keys[pair.row],
        "training_caption": real.captions[pair.near],
        "training_key": real.keys[pair.near],
    }


def _draw(pairs: list[Close], pictures: Tensor, real: RealPictures, path: Path, what: str) -> None:
    """Each picture, left, beside its nearest training picture, with the captions of both."""
    texts = [
        f"{real.captions[pair.row]} | {real.captions[pair.near]} ({pair.distance:.3f})"
        for pair in pairs
    ]
    others = real.take([pair.near for pair in pairs])
    sheet = path.with_name(f"{path.stem}-{what}.png")
    outputs.save_picture(side_by_side([pictures, others], texts, columns=4), sheet)
    say(f"look at {sheet}")
