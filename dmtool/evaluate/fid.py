"""`dmtool eval-fid`: a run's pictures against the real ones, or one folder against another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from tqdm import tqdm

from dmtool import pipeline, processes, runs, shards
from dmtool.config import container, validate
from dmtool.data import source
from dmtool.data.pictures import Pictures
from dmtool.device import pick_device
from dmtool.errors import UserError
from dmtool.evaluate import features, generated
from dmtool.evaluate.features import FeatureExtractor
from dmtool.evaluate.folders import compare_folders
from dmtool.evaluate.record import record
from dmtool.pipeline import Pipeline, Request
from dmtool.processes import Group
from dmtool.schemas import Data, EvalFid, HasData, Use

Features = np.ndarray[Any, Any]
T = TypeVar("T")


def folders(config: EvalFid, real: Path, fake: Path, out: Path | None) -> None:
    """Print (and write to `out`) the distance between the pictures of two folders."""
    with _processes(config) as group:
        extractor = features.load(config.extractor, pick_device(config.device))
        result = compare_folders(real, fake, extractor, config.batch_size, group)
        if group.main:
            print(
                f"{result['metric']}: {result['value']:.3f} "
                f"({result['n_real']} real, {result['n_fake']} generated pictures)"
            )
            if out:
                runs.write_text(out, json.dumps(result, indent=1) + "\n")


def run(config: EvalFid, out: Path | None) -> None:
    """Sample one picture for each chosen caption, measure them, write and print the figures.

    The reference, and the gallery of retrieval, are all pictures of the set; the protocol is that
    of `evaluate.generated`. Every picture is made, and seen, by one process.
    """
    with _processes(config) as group:
        result = measure(config, group)
        if group.main:
            path = (
                out or runs.run_dir(config.run, config.root) / "eval" / f"fid-{config.split}.json"
            )
            runs.write_text(path, json.dumps(result, indent=1) + "\n")
            print(summary(result))
            print(f"written to {path}")


def _processes(config: EvalFid) -> AbstractContextManager[Group]:
    return processes.started(pick_device(config.device), config.timeout)


def measure(config: EvalFid, group: Group) -> dict[str, Any]:
    """The figures with all that they depend on, on the main process."""
    chain = pipeline.load(config)
    data = trained_on(config)
    loaded = source.load(data)
    check_unchanged(loaded.fingerprint, chain)
    extractor = features.load(config.extractor, chain.device)
    pictures = Pictures(loaded.dataset, data, resolution(chain), config.seed)
    real = real_features(pictures, extractor, loaded.fingerprint, config.batch_size)
    rows = _rows(loaded.dataset["key"], data, config)
    captions = [row[0] if row else "" for row in loaded.dataset["caption"]]
    fake = _fake(chain, extractor, rows, captions, config, group)
    if not group.main:
        return {}
    result = record(extractor, len(real), len(fake))
    result |= {"split": config.split, "seed": config.seed, "settings": chain.settings()}
    result |= {"data": loaded.fingerprint, "resolution": pictures.resolution}
    result["figures"] = generated.evaluate(fake, real, np.array(rows), captions)
    result["floor"] = generated.floor(real, len(rows), config.seed)
    return result


def summary(result: dict[str, Any]) -> str:
    """The figures as lines of text."""
    lines = [f"{result['n_fake']} pictures for captions of the split {result['split']!r}"]
    for name, group in result["figures"].items():
        recalls = ", ".join(f"R@{k} {group[f'r@{k}']:.3f}" for k in (1, 10))
        lines.append(
            f"  {name.replace('_', ' ')}: {result['metric']} {group['fd']:.1f}, {recalls} "
            f"(N = {group['n_fake']})"
        )
    if result["floor"]:
        floor = result["floor"]
        lines.append(f"  floor, as many real pictures: {floor['fd']:.1f} (N = {floor['n_fake']})")
    return "\n".join(lines)


def check_unchanged(fingerprint: str, chain: Pipeline) -> None:
    """UserError if the pictures with this fingerprint are not those that the chain learned."""
    learned = chain.card["data"]["fingerprint"]
    if fingerprint != learned:
        raise UserError(
            f"the pictures have changed since training: their fingerprint is {fingerprint}, "
            f"the run's is {learned}"
        )


def trained_on(config: Use) -> Data:
    """The data that the run was trained on, from its saved config."""
    run = config.from_.unet or config.run
    path = runs.run_dir(run, config.root) / "unet" / "config.yaml"
    saved = container(cast(DictConfig, OmegaConf.load(path)))
    return validate({"data": saved["data"]}, HasData).data


def resolution(chain: Pipeline) -> int:
    factor = chain.upsampler.factor if chain.upsampler else 1
    return cast(int, chain.card["resolution"]) * factor


def _rows(keys: list[str], data: Data, config: EvalFid) -> list[int]:
    """`count` evenly spread rows of the split, as rows of the whole set."""
    rows = [row for row, key in enumerate(keys) if source.split_of(key, data) == config.split]
    if len(rows) < 2:
        raise UserError(
            f"the split {config.split!r} has {len(rows)} pictures: at least 2 are needed"
        )
    return spread(rows, config.count or len(rows))


def spread(items: Sequence[T], count: int) -> list[T]:
    """`count` items evenly spread, or all if there are no more."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def real_features(
    pictures: Pictures, extractor: FeatureExtractor, fingerprint: str, batch_size: int
) -> Features:
    """Features [M, d] of all pictures, extracted once, by all processes together, and kept."""
    key = {
        "data": fingerprint,
        "resolution": pictures.resolution,
        "background": list(pictures.config.background),
        "extractor": extractor.describe(),
    }

    def encode(rows: range) -> dict[str, Tensor]:
        images = (pictures[row, row]["image"] for row in rows)
        return {"features": torch.from_numpy(features.extract(extractor, images, batch_size))}

    filled = shards.filled("features", key, len(pictures), encode)
    return torch.cat(filled.column("features")).numpy()


def _fake(
    chain: Pipeline,
    extractor: FeatureExtractor,
    rows: list[int],
    captions: list[str],
    config: EvalFid,
    group: Group,
) -> Features:
    """Features [N, d] of one picture a caption, drawn from (seed, row), on the main process."""
    mine = group.share(rows)
    pictures = chain.pictures(Request(captions[row], (config.seed, row)) for row in mine)
    bar = tqdm(pictures, total=len(mine), desc="sampling", unit="pic", disable=group.silent)
    found = features.extract(extractor, (picture.pixels for picture in bar), config.batch_size)
    return np.array(group.merge(list(found)))
