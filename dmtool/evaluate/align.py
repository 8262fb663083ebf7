"""`dmtool eval-align`: whether pictures show their captions, by all that can tell.

Three measures: where the true picture stands among all (by an extractor's features), the CLIP
score (if a CLIP model is given), and of drawn shapes what the programmatic judge sees. Beside the
pictures measured stand real ones of the same captions (the ceiling) and of others (chance).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from dmtool import cache, pipeline, processes, runs
from dmtool.data.judge import look
from dmtool.device import pick_device
from dmtool.errors import UserError
from dmtool.evaluate import align_figures, align_lines, asked, clip, extractors, reals
from dmtool.evaluate.align_figures import Views
from dmtool.evaluate.asked import Asked
from dmtool.evaluate.captioned import captioned, read_picture
from dmtool.evaluate.clip import Clip
from dmtool.evaluate.composition import are_shapes
from dmtool.evaluate.features import FeatureExtractor
from dmtool.evaluate.record import versions
from dmtool.pipeline import Pipeline, Request
from dmtool.processes import Group
from dmtool.schemas import EvalAlign

Looks = dict[str, Callable[[Sequence[Tensor]], Sequence[Any]]]
"""Ways to look at pictures uint8 [3, H, W]: each gives something for every one of them."""


def run(config: EvalAlign, out: Path | None) -> None:
    """Sample a picture for each caption or prompt, look at it, write and print the figures.

    Every picture is made, and seen, by one process.
    """
    with processes.started(pick_device(config.device), config.timeout) as group:
        result = _of_run(config, group)
        if group.main:
            name = f"align-{result['protocol']['split']}.json"
            path = out or runs.run_dir(config.run, config.root) / "eval" / name
            runs.write_text(path, json.dumps(result, indent=1) + "\n")
            print(align_lines.text(result), f"written to {path}", sep="\n")


def folder(config: EvalAlign, fake: Path, out: Path | None) -> None:
    """Look at a folder of captioned pictures, print the figures and write them to `out`."""
    with processes.started(pick_device(config.device), config.timeout) as group:
        pairs = captioned(fake)
        captions = [caption for _, caption in pairs]
        model = _clip(config)
        looks = _looks(model, captions)
        if not looks:
            raise UserError(
                f"{fake} has captions that no program can check (only those of data=shapes are), "
                "so a model must: give clip=DIR, a CLIP model as transformers saves it"
            )
        mine = tqdm(group.share(pairs), desc="looking", unit="pic", disable=group.silent)
        found = _seen((read_picture(path) for path, _ in mine), looks, config.batch_size, group)
        if not group.main:
            return
        result = _result({"generated": found}, captions, model, config.batch_size)
        result["protocol"] = {"fake": str(fake), "prompts": cache.digest(captions)}
        print(align_lines.text(result))
        if out:
            runs.write_text(out, json.dumps(result, indent=1) + "\n")


def _of_run(config: EvalAlign, group: Group) -> dict[str, Any]:
    """The figures with all that they depend on, on the main process."""
    chain = pipeline.load(config)
    if not chain.text.dim:
        raise UserError(f"the run {config.run!r} was trained without text: it follows no captions")
    real = reals.of_chain(chain, config)
    build = {"captions": asked.of_split, "toy-compositional": asked.toy_compositional}
    wanted, model = build[config.prompts](config, real), _clip(config)
    looks, mine = _looks(model, wanted.captions), group.share(range(len(wanted.captions)))
    true = _seen(map(wanted.true, mine), looks, config.batch_size, group)
    extractor = extractors.load(config.extractor, chain.device) if wanted.rows else None
    gallery = real.features(extractor, config.batch_size) if extractor else None
    more = {"features": _features(extractor)} if extractor else {}
    painted = _painted(chain, wanted, mine, group.silent)
    found = _seen(painted, looks | more, config.batch_size, group)
    if not group.main:
        return {}
    order = _others(len(wanted.captions), config.seed)
    other = {name: [each[i] for i in order] for name, each in true.items()}
    views = {"generated": found, "real": true, "shuffled": other}
    result = _result(views, wanted.captions, model, config.batch_size, wanted)
    if extractor and gallery is not None:
        result["figures"]["retrieval"] = align_figures.retrieved(found, gallery, wanted)
        result["extractor"] = extractor.describe()
    return result | {"protocol": wanted.protocol, "settings": chain.settings()}


def _result(
    views: dict[str, Views],
    captions: Sequence[str],
    model: Clip | None,
    batch_size: int,
    wanted: Asked | None = None,
) -> dict[str, Any]:
    """The figures of what was seen, for JSON."""
    figures: dict[str, Any] = {}
    if model:
        figures["clip"] = align_figures.scored(views, captions, model, batch_size)
    if "view" in views["generated"]:
        figures["composition"] = align_figures.composed(views, captions, wanted)
    return {
        "kind": "align",
        "n": len(captions),
        "figures": figures,
        "clip": model.describe() if model else None,
        "versions": versions(),
    }


def _painted(
    chain: Pipeline, wanted: Asked, mine: Sequence[int], silent: bool | None
) -> Iterable[Tensor]:
    """This process's pictures."""
    pictures = chain.pictures(Request(wanted.captions[i], wanted.keys[i]) for i in mine)
    bar = tqdm(pictures, total=len(mine), desc="sampling", unit="pic", disable=silent)
    return (picture.pixels for picture in bar)


def _clip(config: EvalAlign) -> Clip | None:
    return clip.load(config.clip, pick_device(config.device)) if config.clip else None


def _looks(model: Clip | None, captions: Sequence[str]) -> Looks:
    """By the CLIP model, and by the judge if it reads the captions."""
    looks: Looks = {"clip": model.pictures} if model else {}
    if are_shapes(captions):
        looks["view"] = lambda pictures: [look(p.permute(1, 2, 0).numpy()) for p in pictures]
    return looks


def _features(extractor: FeatureExtractor) -> Callable[[Sequence[Tensor]], Sequence[Any]]:
    return lambda pictures: list(extractor(torch.stack(list(pictures))).cpu().numpy())


def _seen(pictures: Iterable[Tensor], looks: Looks, batch_size: int, group: Group) -> Views:
    """What all processes saw of their pictures, on the main one in the order of all."""
    views: Views = {name: [] for name in looks}
    stream = iter(pictures if looks else ())
    while batch := list(islice(stream, batch_size)):
        for name, each in looks.items():
            views[name] += list(each(batch))
    return {name: group.merge(found) for name, found in views.items()}


def _others(n: int, seed: int) -> NDArray[np.int64]:
    """For each of n captions the number of another one's picture."""
    order = np.random.default_rng(seed).permutation(n)
    others = np.empty(n, np.int64)
    others[order] = np.roll(order, 1)
    return others
