"""`dmtool eval-align`: whether pictures show their captions, by all that can tell.

Three measures: where the true picture stands among all (by an extractor's features), the CLIP
score (if a CLIP model is given), and of drawn shapes what the programmatic judge sees. Beside the
pictures measured stand real ones of the same captions (the ceiling) and of others (chance).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dmtool import processes
from dmtool.chain import pipeline
from dmtool.chain.pipeline import Pipeline, Request
from dmtool.config.evaluating import EvalAlign
from dmtool.data.judge import look
from dmtool.errors import UserError
from dmtool.files.digests import digest
from dmtool.measure import real_pictures
from dmtool.measure.alignment import align_lines, clip, prompt_sets
from dmtool.measure.alignment.align_figures import GENERATED, Gallery, Views, figures
from dmtool.measure.alignment.clip import Clip
from dmtool.measure.alignment.composition import are_shapes
from dmtool.measure.alignment.prompt_sets import CaptionSet, PromptSet
from dmtool.measure.captioned_folder import captioned, read_picture, read_square
from dmtool.measure.decoders.decoded import decoded
from dmtool.measure.features import extractors
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.record import settings, shared_networks, versions
from dmtool.measure.result_file import place, publish
from dmtool.processes import Group

Looks = dict[str, Callable[[Sequence[Tensor]], Sequence[Any]]]
"""Ways to look at pictures uint8 [3, H, W]: each gives something for every one of them."""


def run(config: EvalAlign, out: Path | None) -> None:
    """Sample a picture for each caption or prompt, look at it, write and print the figures.

    Every picture is made, and seen, by one process.
    """
    with processes.of(config) as (group, _):
        chain = pipeline.load(config)
        if not chain.generator.text.dim:
            raise UserError(
                f"the run {config.run!r} was trained without text: it follows no captions"
            )
        real = real_pictures.of_chain(chain, config)
        prompts = prompt_sets.PROMPT_SETS[config.prompts](config, real)
        result = _of_run(config, chain, real, prompts, group)
        if group.main:
            path = out or place(config, f"align-{prompts.name}")
            publish(result, align_lines.text(result, prompts.name), path)


def folder(config: EvalAlign, fake: Path, out: Path | None) -> None:
    """Look at a folder of captioned pictures, print the figures and write them to `out`."""
    with processes.of(config) as (group, device):
        pairs = captioned(fake)
        captions = CaptionSet(name=str(fake), captions=[caption for _, caption in pairs])
        model = _clip(config, device)
        looks = _looks(model, captions.captions)
        if not looks:
            raise UserError(
                f"{fake} has captions that no program can check (only those of data=shapes are), "
                "so a model must: give clip=DIR, a CLIP model as transformers saves it"
            )
        read = read_square if "view" in looks else read_picture
        mine = group.share(pairs)
        seen = _seen((read(path) for path, _ in mine), len(mine), looks, config.batch_size, group)
        if group.main:
            found = figures({GENERATED: seen}, captions, model, config.batch_size)
            result = _result(found, model) | {
                "protocol": {"prompts": digest(captions.captions)},
                "settings": {"fake": str(fake)},
            }
            publish(result, align_lines.text(result, captions.name), out)


def _of_run(
    config: EvalAlign,
    chain: Pipeline,
    real: real_pictures.RealPictures,
    prompts: PromptSet,
    group: Group,
) -> dict[str, Any]:
    """The figures with all that they depend on, on the main process."""
    model = _clip(config, chain.device)
    extractor = extractors.load(config.extractor, chain.device) if prompts.rows else None
    known = real.features(extractor, config.batch_size) if extractor else None
    sets = _sets(chain, prompts, model, extractor, config, group)
    if not group.main:
        return {}
    gallery = Gallery(known, prompts.rows) if known is not None else None
    found = figures(sets, prompts, model, config.batch_size, gallery)
    shared = _shared(chain, model, extractor)
    return _result(found, model, extractor, len(real.keys)) | {
        "protocol": prompts.protocol,
        "settings": settings(chain, shared),
        "warnings": [*prompts.warnings, *shared],
    }


def _sets(
    chain: Pipeline,
    prompts: PromptSet,
    model: Clip | None,
    extractor: FeatureExtractor | None,
    config: EvalAlign,
    group: Group,
) -> dict[str, Views]:
    """What is seen of generated pictures, of real ones, and of real ones of other captions.

    And of real ones as the chain's decoder (and upsampler) gives them back, if it has any: no noise
    predictor does better.
    """
    looks, mine = _looks(model, prompts.captions), group.share(range(len(prompts.captions)))
    seen = partial(_seen, count=len(mine), batch_size=config.batch_size, group=group)
    real = seen(map(prompts.true, mine), looks=looks)
    sets = {"real": real}
    if chain.codec.space.factor > 1 or chain.upsampler:
        captions, keys = [prompts.captions[i] for i in mine], [prompts.keys[i] for i in mine]
        sets["decoded"] = seen(decoded(chain, map(prompts.true, mine), captions, keys), looks=looks)
    requests = (Request(prompts.captions[i], prompts.keys[i]) for i in mine)
    pictures = (picture.pixels for picture in chain.pictures(requests))
    if extractor:
        looks["features"] = lambda images: [*extractor(torch.stack([*images])).cpu().numpy()]
    generated = seen(pictures, looks=looks)
    order = _others(len(prompts.captions), config.seed) if group.main else []
    shuffled = {name: [each[i] for i in order] for name, each in real.items()}
    return {GENERATED: generated, **sets, "shuffled": shuffled}


def _result(
    found: dict[str, Any],
    model: Clip | None,
    extractor: FeatureExtractor | None = None,
    n_real: int | None = None,
) -> dict[str, Any]:
    """What is written, see `record`, but for what it depends on."""
    by = [f"R@k by {extractor.name}"] if extractor else []
    by += [f"CLIP score of {model.architecture}"] if model else []
    by += ["the judge of shapes"] if "composition" in found["all"] else []
    return {
        "metric": f"whether captions are shown: {', '.join(by)}",
        "n_real": n_real if extractor else None,
        "n_fake": found["all"]["n"],
        "extractor": extractor.describe() if extractor else None,
        "clip": model.describe() if model else None,
        "figures": found,
        "warnings": [],
        "versions": versions(),
    }


def _clip(config: EvalAlign, device: torch.device) -> Clip | None:
    return clip.load(config.clip, device) if config.clip else None


def _shared(chain: Pipeline, model: Clip | None, extractor: FeatureExtractor | None) -> list[str]:
    judges = {"the CLIP score": model.sha256} if model else {}
    return shared_networks(
        judges | ({extractor.name: extractor.sha256} if extractor else {}), chain.card
    )


def _looks(model: Clip | None, captions: Sequence[str]) -> Looks:
    """By the CLIP model, and by the judge if it reads the captions."""
    looks: Looks = {"clip": lambda pictures: list(model.pictures(pictures))} if model else {}
    if are_shapes(captions):
        looks["view"] = lambda pictures: [look(p.permute(1, 2, 0).numpy()) for p in pictures]
    return looks


def _seen(
    pictures: Iterable[Tensor], count: int, looks: Looks, batch_size: int, group: Group
) -> Views:
    """What all processes saw of their pictures, on the main one in the order of all."""
    views: Views = {name: [] for name in looks}
    stream = iter(tqdm(pictures, total=count, desc="looking", unit="pic", disable=group.silent))
    while looks and (batch := list(islice(stream, batch_size))):
        for name, each in looks.items():
            views[name] += each(batch)
    return {name: group.merge(found) for name, found in views.items()}


def _others(n: int, seed: int) -> list[int]:
    """For each of n captions the number of another one's picture."""
    order = np.random.default_rng(seed).permutation(n)
    others = np.empty(n, np.int64)
    others[order] = np.roll(order, 1)
    return [int(number) for number in others]
