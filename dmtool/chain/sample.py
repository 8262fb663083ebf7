"""`dmtool sample`: PNG files that say how they were made, and a sheet of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from tqdm import tqdm

from dmtool import processes, runs
from dmtool.chain import pipeline
from dmtool.chain.edit import Edit
from dmtool.chain.options import SampleOptions
from dmtool.chain.pipeline import Picture
from dmtool.chain.request import Request, requests
from dmtool.chain.weighted import check_weights, weighted
from dmtool.config.using import Animation, SampleConfig
from dmtool.diffusion.samplers import Mix
from dmtool.draw import animation
from dmtool.draw.sheet import contact_sheet, tile
from dmtool.errors import UserError
from dmtool.files import outputs
from dmtool.say import counted, say
from dmtool.text.blend import Blend, Prompt

SHOWN = 64
"""Pictures on the sheet, at most."""


def sample(config: SampleConfig, options: SampleOptions) -> None:
    """Write the pictures that are wanted to `options.out` (default: the run's `samples`).

    Each picture is made by one process. The sheet of all, the films, and animations of ways from
    one picture to another stand beside that directory, which holds pictures alone.
    """
    with processes.of(config) as (group, _):
        animation.check(config.animation)
        edit = _edit(config, options)
        chain = weighted(pipeline.load(config))
        if not chain.generator.text.dim and any(options.prompts):
            raise UserError(f'the run {config.run!r} was trained without text: use --prompt ""')
        if any(options.negative) and not chain.generator.heeds_negatives:
            raise UserError(
                "nothing leads away from --negative: take a guidance.scale above 1, of a run that "
                "was trained with text"
            )
        folder = options.out or runs.run_dir(config.run, config.root) / "samples"
        asked, settings = requests(options, config.seed, edit), chain.settings(edit)
        check_weights(asked)
        if edit and edit.mask and group.main:
            say(f"{edit.share:.1%} of the picture is painted anew")
        paths = [folder / _name(k // options.n, request) for k, request in enumerate(asked)]
        replaced = _check_places(paths, options, config.animation)
        group.wait()
        mine = group.share(range(len(asked)))
        pictures = chain.pictures((asked[k] for k in mine), options.film)
        bar = tqdm(pictures, total=len(mine), desc="sampling", unit="pic", disable=group.silent)
        _write(zip((paths[k] for k in mine), bar, strict=True), settings, config.animation)
        group.wait()
        if group.main:
            _report(asked, paths, chain.painter(edit).line(), options, config.animation)
            if replaced:
                say(f"{replaced} of them in place of earlier ones")


def _check_places(paths: list[Path], options: SampleOptions, config: Animation) -> int:
    """How many of the pictures take the place of earlier ones; UserError where something else
    stands, there or beside a folder that the user has named."""
    there = [path for path in paths if path.exists()]
    for path in there:
        outputs.file(path, outputs.PICTURE)
    if options.out is None:
        return len(there)
    outputs.file(_beside(options.out, "-sheet.png"), outputs.PICTURE)
    if options.film:
        outputs.folder(_beside(options.out, "-film"))
    if options.frames is not None:
        for k in range(options.n):
            way = _beside(options.out, f"-{options.index + k}.{config.format}")
            outputs.file(way, outputs.MOVING)
    return len(there)


def _beside(folder: Path, ending: str) -> Path:
    """What stands beside the folder of pictures, which holds pictures alone."""
    return folder.with_name(f"{folder.absolute().name}{ending}")


def _edit(config: SampleConfig, options: SampleOptions) -> Edit | None:
    """The picture to begin with, with the settings that it stands under."""
    if options.init is None:
        return None
    if options.mask is None and options.outpaint is None:
        return Edit.read(options.init, config.edit.strength)
    settings = asdict(config.edit.inpaint) | {"mask_from": options.mask_from}
    return Edit.read(options.init, mask=options.mask, outpaint=options.outpaint, **settings)


def _write(
    pictures: Iterable[tuple[Path, Picture]], settings: dict[str, Any], config: Animation
) -> None:
    """Write pictures as they come, and their films beside their directory."""
    text = json.dumps(settings)
    for path, picture in pictures:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, picture, text)
        if picture.film is not None:
            films = _beside(path.parent, "-film")
            films.mkdir(exist_ok=True)
            _film(films / path.stem, picture.film, config)


def _film(path: Path, film: Tensor, config: Animation) -> None:
    """A strip of all steps, and an animation: the state, and beside it the estimate."""
    steps = len(film) // 2
    outputs.save_picture(tile(film, columns=steps), path.with_name(f"{path.name}.png"))
    pairs = (tile(film[[i, steps + i]], columns=2) for i in range(steps))
    animation.save(path, pairs, config)


def _report(
    asked: list[Request],
    paths: list[Path],
    how: str,
    options: SampleOptions,
    config: Animation,
) -> None:
    """The sheet of the first pictures, animations of ways, and a line about all."""
    folder, n = paths[0].parent, options.n
    sheet = _beside(folder, "-sheet.png")
    captions = [_said(request.prompt) for request in asked[:SHOWN]]
    images = [Image.open(path) for path in paths[:SHOWN]]
    columns = n if n > 1 else options.frames or 4
    outputs.save_picture(contact_sheet(images, captions, columns), sheet)
    moving = "" if options.frames is None else f", {_ways(paths, options, config)}"
    say(f"{counted(len(asked), 'picture')} in {folder} (look at {sheet}{moving}); {how}")


def _ways(paths: list[Path], options: SampleOptions, config: Animation) -> str:
    """An animation of each of the `n` ways; returns the files' names."""
    folder, made = paths[0].parent, []
    for k in range(options.n):
        frames = (Image.open(path).convert("RGB") for path in paths[k :: options.n])
        place = _beside(folder, f"-{options.index + k}")
        made.append(str(animation.save(place, frames, config)))
    return " ".join(made)


def _name(number: int, request: Request) -> str:
    """The file of a picture of the prompt of this number."""
    key = request.key
    keys = (key.key, key.other) if isinstance(key, Mix) else (key,)
    source = "-to-".join(f"seed{seed}-{i}" for seed, i in keys)
    return f"{number:03d}-{slug(_said(request.prompt))}-{source}.png"


def _said(prompt: Prompt) -> str:
    if isinstance(prompt, Blend):
        return f"{prompt.first} to {prompt.second}, {prompt.share:.0%}"
    return prompt


def slug(prompt: str) -> str:
    """A short file name for a prompt."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40] or "empty"


def write(path: Path, picture: Picture, settings: str) -> None:
    """Save a picture with its prompt, seed and settings (JSON) as PNG text."""
    origin = _origin(picture.request) | {"negative": picture.request.negative}
    outputs.save_picture(picture.image(), path, **origin, settings=settings)


def _origin(request: Request) -> dict[str, str]:
    """The prompt and the seed of a picture, or those that it lies between."""
    prompt, key = request.prompt, request.key
    origin: dict[str, Any] = {"prompt": prompt}
    if isinstance(prompt, Blend):
        origin = {"prompt": prompt.first, "to_prompt": prompt.second, "prompt_share": prompt.share}
    seed, i = key.key if isinstance(key, Mix) else key
    origin |= {"seed": seed, "index": i}
    if isinstance(key, Mix):
        origin |= {"to_seed": key.other[0], "to_index": key.other[1], "seed_share": key.share}
    return {name: str(value) for name, value in origin.items()}
