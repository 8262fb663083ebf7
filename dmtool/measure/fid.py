"""`dmtool eval-fid`: a run's pictures against the real ones, or one folder against another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dmtool import processes
from dmtool.chain import pipeline
from dmtool.chain.pipeline import Pipeline
from dmtool.chain.request import Request
from dmtool.config.using import EvalFid
from dmtool.errors import UserError
from dmtool.files.digests import digest
from dmtool.measure import generated, lines, measures, real_pictures
from dmtool.measure.distances.lot import Lot
from dmtool.measure.features import extractors, features
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.folders import compare_folders
from dmtool.measure.generated import Reference
from dmtool.measure.measures import RETRIEVAL
from dmtool.measure.record import result, settings, shared_networks
from dmtool.measure.result_file import place, publish
from dmtool.processes import Group


def folders(config: EvalFid, real: Path, fake: Path, out: Path | None) -> None:
    """Print (and write to `out`) the figures of the pictures of two folders or files."""
    wanted = [name for name in config.metrics if name != RETRIEVAL]
    if not wanted:
        raise UserError("retrieval needs a run's captions: name other metrics for two folders")
    with processes.of(config) as (group, device):
        extractor = extractors.load(config.extractor, device)
        found = compare_folders(
            real, fake, extractor, config.batch_size, wanted, config.seed, group, config.max_real
        )
        if group.main:
            publish(found, lines.text(found), out)


def run(config: EvalFid, out: Path | None) -> None:
    """Sample one picture for each chosen caption, measure them, write and print the figures.

    The reference, and the gallery of retrieval, are all pictures of the set; the protocol is that
    of `measure.generated`. Every picture is made, and seen, by one process.
    """
    with processes.of(config) as (group, _):
        found = measure(config, group)
        if group.main:
            text = f"captions of the split {config.split!r}\n{lines.text(found)}"
            publish(found, text, out or place(config, f"fid-{config.split}"))


def measure(config: EvalFid, group: Group) -> dict[str, Any]:
    """The figures with all that they depend on, on the main process."""
    chain = pipeline.load(config)
    extractor = extractors.load(config.extractor, chain.device)
    measures.check(extractor, config.metrics)
    known = real_pictures.of_chain(chain, config)
    real = known.features(extractor, config.batch_size)
    rows = known.rows(config.count, config.split)
    fake = _fake(chain, extractor, rows, known.captions, config, group)
    if not group.main:
        return {}
    lot = Lot(known.keys, config.max_real, config.seed)
    figures = generated.evaluate(
        fake, Reference(real, known.captions, lot), np.array(rows), config.metrics, config.seed,
        measures.logits(extractor, fake, config.metrics),
    )  # fmt: skip
    protocol = known.describe(rows) | {
        "split": config.split,
        "prompts": digest([known.captions[row] for row in rows]),
        "seed": config.seed,
        "pictures": "uint8 RGB, not compressed, one for each caption",
        "reference": "all pictures of the set or of the group",
    }
    if "n_real_drawn" in figures["all"]:
        protocol |= lot.protocol("max_real", len(real))
    found = result(extractor, figures, config.metrics, protocol)
    shared = shared_networks({extractor.name: extractor.sha256}, chain.card)
    found["warnings"] += shared
    return found | {"settings": settings(chain, shared)}


def _fake(
    chain: Pipeline,
    extractor: FeatureExtractor,
    rows: list[int],
    captions: list[str],
    config: EvalFid,
    group: Group,
) -> NDArray[np.float32]:
    """Features [N, d] of one picture a caption, drawn from (seed, row), on the main process."""
    mine = group.share(rows)
    pictures = chain.pictures(Request(captions[row], (config.seed, row)) for row in mine)
    bar = tqdm(pictures, total=len(mine), desc="sampling", unit="pic", disable=group.silent)
    found = features.extract(extractor, (picture.pixels for picture in bar), config.batch_size)
    return np.array(group.merge(list(found)))
