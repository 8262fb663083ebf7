"""What pictures are asked for: the captions of a split, or a set of prompts, with true pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dmtool.config.evaluating import EvalAlign
from dmtool.config.parts import ShapesData
from dmtool.data.batches import evenly
from dmtool.data.shapes import draw, held_out
from dmtool.data.transforms import to_pixels
from dmtool.diffusion.samplers import Key
from dmtool.errors import UserError
from dmtool.files.digests import digest
from dmtool.measure.alignment import retrieval, toy_prompts
from dmtool.measure.alignment.composition import Groups
from dmtool.measure.alignment.novelty import NOVELTIES, novelty
from dmtool.measure.real_pictures import RealPictures
from dmtool.say import counted

NONE_HELD = "nothing is held out: train on data.hold_out='[red circle,...]' to see what is learned"


@dataclass(frozen=True, kw_only=True)
class CaptionSet:
    """Captions and how they are told apart.

    `name` is that of the split, set or folder. `tasks` are those of `toy_prompts`, one a caption.
    """

    name: str
    captions: list[str]
    groups: Groups = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PromptSet(CaptionSet):
    """Captions with the key that each one's picture is drawn from.

    `true(i)` is a real picture of caption i, uint8 [3, H, W]; of a split it is row `rows[i]` of all
    pictures.
    """

    keys: list[Key]
    true: Callable[[int], Tensor]
    protocol: dict[str, Any]
    rows: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def of_split(config: EvalAlign, real: RealPictures) -> PromptSet:
    """`count` evenly spread captions of a split; UserError if it has fewer than two."""
    captioned = [row for row in real.of(config.split) if real.captions[row]]
    if len(captioned) < 2:
        raise UserError(
            f"the split {config.split!r} has {counted(len(captioned), 'picture')} with a caption: "
            "at least 2 are needed"
        )
    rows = evenly(captioned, config.count or len(captioned))
    captions = [real.captions[row] for row in rows]
    return PromptSet(
        name=config.split,
        captions=captions,
        keys=[(config.seed, row) for row in rows],
        groups=retrieval.groups(captions) | _by_novelty(captions, real),
        true=lambda i: real.take([rows[i]])[0],
        protocol={"split": config.split, "seed": config.seed, **real.describe(rows)}
        | {"prompts": digest(captions)},
        rows=rows,
    )


def toy_compositional(config: EvalAlign, real: RealPictures) -> PromptSet:
    """The prompts of `toy_prompts` for a run's shapes; UserError if it was trained on others."""
    data = real.pictures.config
    if not isinstance(data, ShapesData):
        raise UserError(
            f"prompts=toy-compositional is for runs of data=shapes, {config.run!r} is of others: "
            "use prompts=captions"
        )
    held = held_out(data)
    found = toy_prompts.prompts(config.each, data.min_objects, data.max_objects, held)
    captions, size = [prompt.caption for prompt in found], real.pictures.resolution
    return PromptSet(
        name=config.prompts,
        captions=captions,
        keys=[(config.seed, i) for i in range(len(found))],
        groups=_by_novelty(captions, real),
        true=lambda i: to_pixels(draw(found[i].scene, size)),
        protocol={"set": config.prompts, "seed": config.seed, **real.describe()}
        | {"prompts": digest(captions), "each": config.each, "hold_out": data.hold_out},
        tasks=[prompt.task for prompt in found],
        warnings=[] if held else [NONE_HELD],
    )


PROMPT_SETS = {"captions": of_split, "toy-compositional": toy_compositional}
"""By the config's `prompts`."""


def _by_novelty(captions: list[str], real: RealPictures) -> dict[str, NDArray[np.bool_]]:
    """Captions by what of them is new to the training; without groups of none."""
    known = novelty(captions, [real.captions[row] for row in real.of("train")])
    return {name: known == name for name in NOVELTIES if name in known}
