"""What pictures are asked for: the captions of a split, or a set of prompts, with true pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from dmtool import cache
from dmtool.data.shapes import draw, held_out
from dmtool.data.transforms import to_pixels
from dmtool.errors import UserError
from dmtool.evaluate import retrieval, toy_prompts
from dmtool.evaluate.composition import Groups
from dmtool.evaluate.novelty import COMPOSITION, NOVELTIES, SEEN, novelty
from dmtool.evaluate.reals import Reals
from dmtool.samplers import Key
from dmtool.schemas import EvalAlign, ShapesData


@dataclass(frozen=True)
class Asked:
    """Captions, the key that each one's picture is drawn from, and how they are told apart.

    `true(i)` is a real picture of caption i, uint8 [3, H, W]; of a split it is row `rows[i]` of all
    pictures. `tasks` are those of `toy_prompts`, one a caption.
    """

    captions: list[str]
    keys: list[Key]
    groups: Groups
    true: Callable[[int], Tensor]
    protocol: dict[str, Any]
    rows: list[int] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)


def of_split(config: EvalAlign, reals: Reals) -> Asked:
    """`count` evenly spread captions of a split; UserError if it has fewer than two."""
    captioned = [row for row in reals.of(config.split) if reals.captions[row]]
    if len(captioned) < 2:
        raise UserError(
            f"the split {config.split!r} has {len(captioned)} pictures with a caption: at least 2 "
            "are needed"
        )
    count = min(config.count or len(captioned), len(captioned))
    rows = [captioned[i * len(captioned) // count] for i in range(count)]
    captions = [reals.captions[row] for row in rows]
    known = novelty(captions, [reals.captions[row] for row in reals.of("train")])
    groups = {name: known == name for name in NOVELTIES}
    return Asked(
        captions=captions,
        keys=[(config.seed, row) for row in rows],
        groups=retrieval.groups(captions) | _telling(groups),
        true=lambda i: reals.take([rows[i]])[0],
        protocol={"split": config.split, "seed": config.seed, **reals.describe(rows)}
        | {"prompts": cache.digest(captions)},
        rows=rows,
    )


def toy_compositional(config: EvalAlign, reals: Reals) -> Asked:
    """The prompts of `toy_prompts` for a run's shapes; UserError if it was trained on others."""
    data = reals.pictures.config
    if not isinstance(data, ShapesData):
        raise UserError(
            f"prompts=toy-compositional is for runs of data=shapes, {config.run!r} is of others: "
            "use prompts=captions"
        )
    found = toy_prompts.prompts(config.each, data.min_objects, data.max_objects, held_out(data))
    unseen, size = np.array([prompt.unseen for prompt in found]), reals.pictures.resolution
    captions = [prompt.caption for prompt in found]
    return Asked(
        captions=captions,
        keys=[(config.seed, i) for i in range(len(found))],
        groups=_telling({SEEN: ~unseen, COMPOSITION: unseen}),
        true=lambda i: to_pixels(draw(found[i].scene, size)),
        protocol={"split": "toy-compositional", "seed": config.seed, **reals.describe()}
        | {"prompts": cache.digest(captions), "each": config.each, "hold_out": data.hold_out},
        tasks=[prompt.task for prompt in found],
    )


def _telling(groups: Groups) -> dict[str, Any]:
    """Groups but for those of none or of all."""
    return {name: rows for name, rows in groups.items() if 0 < rows.sum() < len(rows)}
