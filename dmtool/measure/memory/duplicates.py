"""`dmtool duplicates`: pictures of a source that are nearly alike, listed and drawn.

What a set holds many times is what a model memorises first, and what makes its held-out pictures
no fair test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dmtool.config.evaluating import FindDuplicates
from dmtool.device import pick_device
from dmtool.files import outputs
from dmtool.measure import real_pictures
from dmtool.measure.decoders.pairs import side_by_side
from dmtool.measure.features import extractors
from dmtool.measure.memory.neighbours import Duplicates, duplicates
from dmtool.measure.real_pictures import RealPictures
from dmtool.measure.result_file import publish
from dmtool.say import counted, say

LISTED, DRAWN = 2000, 40
"""Closest pairs that are written to the JSON file, and how many of those are drawn, at most."""


def run(config: FindDuplicates, path: Path) -> None:
    """Write to `path` all pairs whose features have a cosine of `config.threshold` or more, and
    draw some beside it."""
    real = real_pictures.of_data(config.data, config.resolution)
    extractor = extractors.load(config.extractor, pick_device(config.device))
    known = real.features(extractor, config.batch_size)
    found = duplicates(known, config.threshold, LISTED)
    result = {
        "pictures": len(known),
        "threshold": config.threshold,
        "count": found.count,
        "in_a_pair": int(found.member.sum()),
        "pairs": _listed(found, real),
        "protocol": real.describe(),
        "extractor": extractor.describe(),
    }
    publish(result, summary(result), path)
    if found.pairs:
        _draw(found, real, path.with_name(f"{path.stem}.png"))


def summary(result: dict[str, Any]) -> str:
    """The figures, and the closest pairs, as lines of text."""
    lines = [
        f"{counted(result['count'], 'pair')} at a cosine of {result['threshold']:g} or more; "
        f"{result['in_a_pair']:,} of {result['pictures']:,} pictures are in one"
    ]
    for pair in result["pairs"][:10]:
        lines.append(f"  {pair['cosine']:.4f}  {_named(pair['a'])}  |  {_named(pair['b'])}")
    return "\n".join(lines)


def _named(picture: dict[str, str]) -> str:
    return f"{picture['key']} ({picture['split']}) {picture['caption']}".rstrip()


def _listed(found: Duplicates, real: RealPictures) -> list[dict[str, Any]]:
    def picture(row: int) -> dict[str, str]:
        split = str(real.splits[row])
        return {"key": real.keys[row], "caption": real.captions[row], "split": split}

    return [{"cosine": cosine, "a": picture(i), "b": picture(j)} for i, j, cosine in found.pairs]


def _draw(found: Duplicates, real: RealPictures, path: Path) -> None:
    """Pairs that are evenly spread over those listed, from the closest to the least alike."""
    count = min(DRAWN, len(found.pairs))
    shown = [found.pairs[i * len(found.pairs) // count] for i in range(count)]
    texts = [
        f"{real.captions[i] or real.keys[i]} | {real.captions[j] or real.keys[j]} ({cosine:.4f})"
        for i, j, cosine in shown
    ]
    left, right = ([i for i, _, _ in shown], [j for _, j, _ in shown])
    outputs.save_picture(side_by_side([real.take(left), real.take(right)], texts, columns=4), path)
    say(f"look at {path}")
