"""`dmtool eval-memory`: does a noise predictor give its training pictures back?

Memorising and learning both bring samples near to training pictures, so each figure of the samples
stands beside that of held-out real pictures, and the closest pairs of both are drawn. No figure
tells a copy from a new picture of a set that holds almost the same picture many times.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm import tqdm

from dmtool import pipeline, processes, runs
from dmtool.device import pick_device
from dmtool.errors import UserError
from dmtool.evaluate import features, reals
from dmtool.evaluate.features import FeatureExtractor
from dmtool.evaluate.neighbours import Nearest, authentic, closer, nearest, nearest_other, unit
from dmtool.evaluate.pairs import side_by_side, spread
from dmtool.evaluate.reals import Reals
from dmtool.evaluate.record import record
from dmtool.pipeline import Pipeline, Request
from dmtool.processes import Group
from dmtool.schemas import EvalMemory
from dmtool.table import columns

SHOWN = 20
"""Closest pairs that are drawn and listed."""


class Neighbours(NamedTuple):
    """The nearest training picture of each sample, of each held-out picture, and of each training
    picture (another one)."""

    samples: Nearest
    held_out: Nearest
    others: Nearest


class Close(NamedTuple):
    """A picture and the training picture nearest to it: the rows of both, and the distance."""

    row: int
    near: int
    distance: float


def run(config: EvalMemory, out: Path | None) -> None:
    """Sample one picture for each chosen caption, find their nearest training pictures, write and
    print the figures, and draw the closest pairs beside the JSON file."""
    with processes.started(pick_device(config.device), config.timeout) as group:
        chain = pipeline.load(config)
        real = _reals(chain, config)
        rows = real.rows(config.split, config.count)
        extractor = features.load(config.extractor, chain.device)
        known = real.features(extractor, config.batch_size)
        made = _samples(chain, real, rows, extractor, config, group)
        if group.main:
            train, held_out = real.of("train"), _held_out(real)
            found = neighbours(made, known[train], known[held_out])
            pairs = {
                "closest": closest(found.samples, rows, train),
                "held-out": closest(found.held_out, held_out, train),
            }
            result = record(extractor, len(train), len(rows)) | {
                "metric": f"memory[{extractor.name}]",
                "figures": figures(found),
                "near_duplicates": near_duplicates(known[train], known[held_out], config.threshold),
                "protocol": {"split": config.split, "seed": config.seed} | real.describe(rows),
                "settings": chain.settings(),
                "pairs": {name: _listed(each, real) for name, each in pairs.items()},
            }
            folder = runs.run_dir(config.run, config.root) / "eval"
            path = out or folder / f"memory-{config.split}.json"
            runs.write_text(path, json.dumps(result, indent=1) + "\n")
            print(f"{summary(result)}\nwritten to {path}")
            again = _painted(chain, real, [pair.row for pair in pairs["closest"]], config.seed)
            _draw(pairs["closest"], again, real, path.with_name(f"{path.stem}-closest.png"))
            theirs = real.take([pair.row for pair in pairs["held-out"]])
            _draw(pairs["held-out"], theirs, real, path.with_name(f"{path.stem}-held-out.png"))


def neighbours(samples: ArrayLike, train: ArrayLike, held_out: ArrayLike) -> Neighbours:
    """From the features [N, d], [M, d] and [H, d] of samples, training and held-out pictures."""
    return Neighbours(nearest(samples, train), nearest(held_out, train), nearest_other(train))


def figures(found: Neighbours) -> dict[str, Any]:
    """How near the samples, and the held-out pictures, are to the training pictures, for JSON.

    `closer` is the chance that a sample is nearer than a held-out picture, 0.5 where they are
    alike; `ratio` is a sample's distance over the held-out pictures' median.
    """
    median = float(np.median(found.held_out.distance))
    return {
        "samples": _side(found.samples, found.others),
        "held_out": _side(found.held_out, found.others),
        "closer": closer(found.samples.distance, found.held_out.distance),
        "ratio": spread(found.samples.distance / median) if median > 0 else None,
    }


def _side(side: Nearest, others: Nearest) -> dict[str, Any]:
    return {
        "n": len(side.distance),
        "distance": spread(side.distance),
        "auth_pct": 100 * float(authentic(side, others).mean()),
    }


def near_duplicates(train: ArrayLike, held_out: ArrayLike, threshold: float) -> dict[str, float]:
    """The shares of training and held-out pictures that have a near duplicate, another training
    picture whose features [M, d] are at a cosine of `threshold` or more."""
    train, held_out = unit(train), unit(held_out)
    reach = np.sqrt(2 - 2 * threshold)  # the distance of unit vectors at that cosine
    return {
        "threshold": threshold,
        "train": float((nearest_other(train).distance <= reach).mean()),
        "held_out": float((nearest(held_out, train).distance <= reach).mean()),
    }


def closest(found: Nearest, rows: Sequence[int], train: Sequence[int]) -> list[Close]:
    """The closest pairs, closest first; `rows` are those of the pictures, `train` of the set."""
    order = np.argsort(found.distance, kind="stable")[:SHOWN]
    return [Close(rows[i], train[found.row[i]], float(found.distance[i])) for i in order]


def summary(result: dict[str, Any]) -> str:
    """The figures as lines of text."""
    found, alike = result["figures"], result["near_duplicates"]
    table = [["", "N", "distance to the nearest training picture (5 %, median, 95 %)", "AuthPct"]]
    for name in ("samples", "held_out"):
        each = found[name]
        reach = ", ".join(f"{each['distance'][q]:.3f}" for q in ("q5", "q50", "q95"))
        table.append([name.replace("_", " "), str(each["n"]), reach, f"{each['auth_pct']:.1f}"])
    split, extractor = result["protocol"]["split"], result["extractor"]["name"]
    return "\n".join([
        f"samples for captions of the split {split!r} by the features of {extractor}, "
        f"{result['n_real']:,} training pictures",
        *columns(table),
        f"a sample is nearer than a held-out picture in {found['closer']:.1%} of all such pairs",
        f"with a near duplicate (cosine {alike['threshold']:g}) in the training set: "
        f"{alike['train']:.1%} of the training pictures, {alike['held_out']:.1%} of the held-out",
    ])  # fmt: skip


def _reals(chain: Pipeline, config: EvalMemory) -> Reals:
    factor = chain.upsampler.factor if chain.upsampler else 1
    size = chain.card["resolution"] * factor
    run = config.from_.unet or config.run
    return reals.of_run(chain.card, run, "unet", config.root, size, config.seed)


def _held_out(real: Reals) -> list[int]:
    rows = real.of("val", "test")
    if not rows:
        raise UserError(
            "the run kept no pictures back (data.val, data.test): there are none to compare with"
        )
    return rows


def _samples(
    chain: Pipeline,
    real: Reals,
    rows: list[int],
    extractor: FeatureExtractor,
    config: EvalMemory,
    group: Group,
) -> NDArray[np.float32]:
    """Features [N, d] of one picture a caption, drawn from (seed, row), on the main process."""
    mine = group.share(rows)
    pictures = chain.pictures(Request(real.captions[row], (config.seed, row)) for row in mine)
    bar = tqdm(pictures, total=len(mine), desc="sampling", unit="pic", disable=group.silent)
    found = features.extract(extractor, (picture.pixels for picture in bar), config.batch_size)
    return np.array(group.merge(list(found)))


def _painted(chain: Pipeline, real: Reals, rows: Sequence[int], seed: int) -> Tensor:
    """Some of the samples again, uint8 [B, 3, H, W]: they are not kept while they are measured."""
    pictures = chain.pictures(Request(real.captions[row], (seed, row)) for row in rows)
    return torch.stack([picture.pixels for picture in pictures])


def _listed(pairs: Sequence[Close], real: Reals) -> list[dict[str, Any]]:
    return [
        {
            "distance": pair.distance,
            "caption": real.captions[pair.row],
            "key": real.keys[pair.row],
            "training_caption": real.captions[pair.near],
            "training_key": real.keys[pair.near],
        }
        for pair in pairs
    ]


def _draw(pairs: Sequence[Close], pictures: Tensor, real: Reals, path: Path) -> None:
    """Each picture, left, beside its nearest training picture, with the captions of both."""
    texts = [
        f"{real.captions[pair.row]} | {real.captions[pair.near]} ({pair.distance:.3f})"
        for pair in pairs
    ]
    nearest_ones = real.take([pair.near for pair in pairs])
    side_by_side([pictures, nearest_ones], texts, columns=4).save(path)
    print(f"look at {path}")
