"""What a stage makes of real pictures, measured beside them: `eval-vae` and `eval-upsampler`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dmtool import processes, runs
from dmtool.config.evaluating import EvalDecoder
from dmtool.files import outputs
from dmtool.measure import real_pictures
from dmtool.measure.decoders import pairs, perceptual
from dmtool.measure.decoders.pairs import Meter, PicturePair, Results
from dmtool.measure.distances.frechet import Moments
from dmtool.measure.features import extractors
from dmtool.measure.features.feature_set import merged
from dmtool.measure.real_pictures import RealPictures
from dmtool.measure.record import paired_warnings, record
from dmtool.measure.result_file import place, publish
from dmtool.processes import Group
from dmtool.runs import Artifact
from dmtool.say import columns

WORST = 10
"""Pictures that are drawn and listed."""

HEADS = {"psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 3), "consistency": ("consistency (dB)", 2)}
"""The figures of single pictures with their decimals, beside the perceptual distance."""


PROTOCOL = (
    "each real picture beside what was made of it, 8 bit; PSNR of peak 255 and SSIM over channels, "
    "mean over pictures; the distance between both sets, paired"
)


class Decoder(Protocol):
    """A stage as it is measured.

    The first of its results is its own, the others are what it is compared with. `prefix` stands
    before the name of its Fréchet distance.
    """

    @property
    def prefix(self) -> str: ...

    @property
    def resolution(self) -> int: ...

    def __call__(self, real: Tensor, prompts: Sequence[str], rows: Sequence[int]) -> Results:
        """Of real pictures, uint8 [B, 3, H, W] on the CPU, with their captions and rows."""
        ...

    def settings(self) -> dict[str, Any]:
        """What its figures must say of how the pictures were made."""
        ...


def run(
    config: EvalDecoder,
    stage: str,
    build: Callable[[Artifact, torch.device], Decoder],
    out: Path | None,
) -> None:
    """Measure a stage on real pictures of a split, write and print the figures.

    The worst pictures stand beside the JSON file as a PNG. Every picture is made, and seen, by one
    process.
    """
    with processes.of(config) as (group, device):
        artifact = runs.find(config.run, stage, config.root, config.artifact)
        decoder = build(artifact, device)
        size = decoder.resolution
        real = real_pictures.of_run(
            artifact.card, runs.run_dir(config.run, config.root) / stage, config.data, size
        )
        rows = real.rows(config.count, config.split)
        extractor = extractors.load(config.extractor, device)
        meter = Meter(extractor, perceptual.load(config.perceptual, size, device))
        measured, moments = measure(decoder, real, rows, meter, config.batch_size, group)
        if group.main:
            worst = pairs.worst(measured, WORST)
            result = _record(decoder, artifact, meter, measured)
            result["protocol"] |= {"split": config.split, "seed": config.seed}
            result["protocol"] |= real.describe(rows)
            if moments:
                next(iter(result["figures"].values()))["latents"] = _latents(moments)
            listed = [{"key": real.keys[rows[i]], **measured[i].own} for i in worst]
            result["examples"] = {"worst": listed}
            path = out or place(config, f"{stage}-{config.split}")
            sheet = path.with_name(f"{path.stem}-worst.png")
            drawn = _sheet(decoder, real, [rows[i] for i in worst], measured, worst)
            publish(result, summary(result), path, f"; the worst {len(worst)}: {sheet}")
            outputs.save_picture(drawn, sheet)


def measure(
    decoder: Decoder,
    real: RealPictures,
    rows: list[int],
    meter: Meter,
    batch_size: int,
    group: Group,
) -> tuple[list[PicturePair], Moments | None]:
    """On the main process: all pairs in the order of `rows`, and the latents' moments."""
    found: list[PicturePair] = []
    moments: list[Moments] = []
    for part, pictures in real.batches(group.share(rows), batch_size, group.silent):
        results = decoder(pictures, [real.captions[row] for row in part], part)
        found += meter(pictures, results)
        if results.latents is not None:
            moments.append(Moments.of(results.latents.movedim(1, -1).flatten(0, -2)))
    everyone = [each for each in group.gather(merged(moments)) if each.n]
    return group.merge(found), merged(everyone) if everyone else None


def _record(
    decoder: Decoder, artifact: Artifact, meter: Meter, measured: list[PicturePair]
) -> dict[str, Any]:
    """The figures of each method, with what they depend on."""
    n, card = len(measured), artifact.card
    made_by = {"checkpoint": card["sha256"], "pictures_seen": card["pictures_seen"]}
    return record(meter.extractor, n, n) | {
        "metric": decoder.prefix + meter.extractor.name,
        "protocol": {"perceptual": meter.perceptual.describe(), "figures": PROTOCOL},
        "settings": made_by | {"complete": card["complete"], **decoder.settings()},
        "figures": {name: pairs.summary(measured, name) for name in measured[0].made},
        "warnings": paired_warnings(n, meter.extractor.dim),
    }


def _latents(moments: Moments) -> dict[str, Any]:
    """Mean and standard deviation of each channel over all pictures and places."""
    std = np.sqrt(np.diag(moments.covariance))
    return {"n": moments.n, "mean": moments.mean.tolist(), "std": std.tolist()}


def summary(result: dict[str, Any]) -> str:
    """The figures as a table: the distance, and mean ± standard deviation over the pictures."""
    heads = HEADS | {"distance": (result["protocol"]["perceptual"]["name"], 4)}
    own = next(iter(result["figures"].values()))
    names = [name for name in heads if name in own]
    table = [["", result["metric"], *(heads[name][0] for name in names)]]
    for method, figures in result["figures"].items():
        spreads = (_spread(figures[name], heads[name][1]) for name in names)
        table.append([method, f"{figures['fd']:.2f}", *spreads])
    protocol = result["protocol"]
    lines = [
        f"{result['n_fake']} pictures of the split {protocol['split']!r}, "
        f"{protocol['resolution']} pixels"
    ]
    lines += columns(table)
    for name in ("mean", "std") if "latents" in own else ():
        values = ", ".join(f"{x:.2f}" for x in own["latents"][name])
        lines.append(f"latents' {name} by channel: {values}")
    return "\n".join([*lines, *(f"warning: {line}" for line in result["warnings"])])


def _spread(values: dict[str, float], decimals: int) -> str:
    return f"{values['mean']:.{decimals}f} ± {values['std']:.{decimals}f}"


def _sheet(
    decoder: Decoder,
    real: RealPictures,
    rows: list[int],
    measured: list[PicturePair],
    places: list[int],
) -> Image.Image:
    """Pictures, what they are compared with, and the stage's own, made again, side by side."""
    pictures = real.take(rows)
    captions = [real.captions[row] for row in rows]
    own, *others = decoder(pictures, captions, rows).made.values()
    texts = [
        f"{caption or real.keys[row]}: {measured[place].own['psnr']:.1f} dB"
        for caption, row, place in zip(captions, rows, places, strict=True)
    ]
    return pairs.side_by_side([pictures, *others, own], texts, columns=2)
