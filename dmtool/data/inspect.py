"""What `dmtool data` shows of a source: its figures, and a sheet of examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image
from tqdm import tqdm

from dmtool.config.parts import Data
from dmtool.data.source import Source, splits
from dmtool.data.transforms import open_picture, to_rgb
from dmtool.draw.sheet import contact_sheet
from dmtool.files import outputs

CELL = 128  # pixels of a picture on the sheet, at most
COLUMNS = 8
BAD = 20  # bad files that are named


def summary(source: Source, config: Data, resolution: int | None = None) -> dict[str, Any]:
    """The figures of a source, ready for JSON; with a `resolution`, of what it means for them.

    Sizes are in pixels as [least, median, greatest], captions' lengths likewise in words.
    """
    captions = source.dataset["caption"]
    texts = [text for several in captions for text in several]
    return {
        "kind": config.kind,
        "pictures": len(source.dataset),
        "splits": {name: len(part) for name, part in splits(source, config).items()},
        **_pictures(source.dataset, config.max_pixels),
        "captions": {
            "count": len(texts),
            "distinct": len(set(texts)),
            "words": _range([len(text.split()) for text in texts]),
            "without": sum(not several for several in captions) / len(source.dataset),
        },
        "bad": [{"name": name, "reason": reason} for name, reason in source.bad],
        "notes": [*source.notes, *filter(None, [source.enlarged(resolution or 0)])],
        "attribution": source.attribution,
        "fingerprint": source.fingerprint,
    }


def describe(figures: Mapping[str, Any]) -> str:
    """The figures of `summary` as lines for a terminal."""
    captions, bad = figures["captions"], figures["bad"]
    parts = {
        "pictures": f"{figures['pictures']:,} ({_counts(figures['splits'])})",
        "width": _shown(figures["width"], "pixels"),
        "height": _shown(figures["height"], "pixels"),
        "modes": _counts(figures["modes"]),
        "captions": f"{captions['count']:,}, {captions['distinct']:,} distinct; "
        f"{captions['without']:.1%} of the pictures have none",
        "length": _shown(captions["words"], "words"),
        "bad files": f"{len(bad):,}",
    }
    lines = [f"{name:12}{value}" for name, value in parts.items()]
    lines += [f"            {item['name']}: {item['reason']}" for item in bad[:BAD]]
    lines += [f"            and {len(bad) - BAD:,} more"] if len(bad) > BAD else []
    lines += [f"{'note':12}{note}" for note in figures["notes"]]
    if figures["attribution"]:
        lines.append(f"{'licence':12}{figures['attribution']}")
    return "\n".join([*lines, f"{'fingerprint':12}{figures['fingerprint']}"])


def sheet(dataset: Dataset, config: Data, path: Path, n: int = 48) -> None:
    """Write a PNG of `n` examples, taken evenly from the whole set, with their captions."""
    count = min(n, len(dataset))
    chosen = _files(dataset).select([index * len(dataset) // count for index in range(count)])
    images = [_thumbnail(row["bytes"], config) for row in chosen["image"]]
    captions = [several[0] if several else "" for several in chosen["caption"]]
    scale = max(1, CELL // max(max(image.size) for image in images))
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs.save_picture(contact_sheet(images, captions, COLUMNS, scale), path)


def _files(dataset: Dataset) -> Dataset:
    return dataset.cast_column("image", ImageFeature(decode=False))


def _thumbnail(data: bytes, config: Data) -> Image.Image:
    image = to_rgb(open_picture(data, config.max_pixels), config.background, config.profiles)
    image.thumbnail((CELL, CELL))
    return image


def _pictures(dataset: Dataset, max_pixels: int) -> dict[str, Any]:
    """Sizes and modes, from the files' headers alone."""
    widths, heights, modes = [], [], Counter[str]()
    for row in tqdm(_files(dataset)["image"], desc="reading headers", unit="pictures"):
        image = open_picture(row["bytes"], max_pixels)
        widths.append(image.width)
        heights.append(image.height)
        modes[image.mode] += 1
    return {"width": _range(widths), "height": _range(heights), "modes": dict(modes.most_common())}


def _range(values: list[int]) -> list[float]:
    return [min(values), median(values), max(values)] if values else []


def _shown(values: list[float], unit: str) -> str:
    if not values:
        return "none"
    least, middle, most = (f"{value:,.12g}" for value in values)
    if least == most:
        return f"{least} {unit.removesuffix('s') if least == '1' else unit}"
    return f"{least} to {most} {unit}, median {middle}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
