"""`dmtool eval-fid`: a run's pictures against the real ones, or one folder against another."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dmtool import cache, pipeline, processes, runs
from dmtool.config import container, validate
from dmtool.data import source
from dmtool.device import pick_device
from dmtool.errors import UserError
from dmtool.evaluate import extractors, features, generated, lines, measures, reference
from dmtool.evaluate.features import FeatureExtractor
from dmtool.evaluate.folders import compare_folders
from dmtool.evaluate.record import result
from dmtool.evaluate.reference import Features
from dmtool.pipeline import Pipeline, Request
from dmtool.processes import Group
from dmtool.schemas import Data, EvalFid, HasData


def folders(config: EvalFid, real: Path, fake: Path, out: Path | None) -> None:
    """Print (and write to `out`) the distance between the pictures of two folders."""
    with _processes(config) as group:
        extractor = extractors.load(config.extractor, pick_device(config.device))
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
        found = _measure(config, group)
        if group.main:
            path = (
                out or runs.run_dir(config.run, config.root) / "eval" / f"fid-{config.split}.json"
            )
            runs.write_text(path, json.dumps(found, indent=1) + "\n")
            print(f"captions of the split {config.split!r}", lines.text(found), sep="\n")
            print(f"written to {path}")


def _processes(config: EvalFid) -> AbstractContextManager[Group]:
    return processes.started(pick_device(config.device), config.timeout)


def _measure(config: EvalFid, group: Group) -> dict[str, Any]:
    """The figures with all that they depend on, on the main process."""
    chain = pipeline.load(config)
    data = _data(config)
    loaded = source.load(data)
    trained_on = chain.card["data"]["fingerprint"]
    if loaded.fingerprint != trained_on:
        raise UserError(
            f"the pictures have changed since training: their fingerprint is {loaded.fingerprint}, "
            f"the run's is {trained_on}"
        )
    extractor = extractors.load(config.extractor, chain.device)
    measures.check(extractor, config.metrics)
    resolution = _resolution(chain)
    real = reference.of_all(loaded, data, resolution, extractor, config.batch_size)
    rows = reference.rows(loaded, data, config.split, config.count)
    captions = reference.captions(loaded)
    fake = _fake(chain, extractor, rows, captions, config, group)
    if not group.main:
        return {}
    figures = generated.evaluate(
        fake, real, np.array(rows), captions, config.metrics, config.seed,
        measures.logits(extractor, fake, config.metrics),
    )  # fmt: skip
    keys = loaded.dataset["key"]
    protocol = {
        "data": loaded.fingerprint,
        "split": config.split,
        "files": cache.digest([keys[row] for row in rows]),
        "prompts": cache.digest([captions[row] for row in rows]),
        "seed": config.seed,
        "resolution": resolution,
        "pictures": "uint8 RGB, not compressed, one for each caption",
        "reference": "all pictures of the set or of the group",
    }
    found = result(extractor, figures, config.metrics, protocol)
    return found | {"settings": chain.settings() | {"ema": chain.card["ema"]}}


def _data(config: EvalFid) -> Data:
    """The data that the run was trained on, from its saved config."""
    run = config.from_.unet or config.run
    path = runs.run_dir(run, config.root) / "unet" / "config.yaml"
    saved = container(cast(DictConfig, OmegaConf.load(path)))
    return validate({"data": saved["data"]}, HasData).data


def _resolution(chain: Pipeline) -> int:
    factor = chain.upsampler.factor if chain.upsampler else 1
    return cast(int, chain.card["resolution"]) * factor


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
