"""`dmtool sample`: PNG files that say how they were made, and a sheet of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from PIL import Image, PngImagePlugin
from tqdm import tqdm

from dmtool import pipeline, processes, runs
from dmtool.device import pick_device
from dmtool.errors import UserError
from dmtool.pipeline import Picture, Pipeline, Request
from dmtool.processes import Group
from dmtool.prompts import Wildcards
from dmtool.schemas import Use
from dmtool.sheet import contact_sheet, tile
from dmtool.text.weights import weighed
from dmtool.weighted import weighted

SHOWN = 64
"""Pictures on the sheet, at most."""


def sample(
    config: Use,
    prompts: list[str],
    wildcards: Wildcards,
    n: int,
    negative: str,
    out: Path | None,
    film: bool,
) -> None:
    """Write `n` pictures of each prompt to `out` (default: the run's `samples`).

    Prompts may be templates, of which each picture's prompt is drawn, and hold weights.
    Each picture is made by one process. The sheet of all and the films stand beside that
    directory, which holds pictures alone.
    """
    with processes.started(pick_device(config.device), config.timeout) as group:
        chain = weighted(pipeline.load(config))
        if not chain.text.dim and any(prompts):
            raise UserError(f'the run {config.run!r} was trained without text: use --prompt ""')
        folder = out or runs.run_dir(config.run, config.root) / "samples"
        requests = [
            Request(
                wildcards.drawn(prompt, config.seed, i),
                (config.seed, i),
                wildcards.drawn(negative, config.seed, i, "negative"),
            )
            for prompt in prompts
            for i in range(n)
        ]
        for request in requests:  # before any is painted
            weighed(request.prompt), weighed(request.negative)
        _paint(chain, requests, n, folder, film, group)
        group.wait()
        if group.main:
            _report(chain, requests, n, folder)


def _paint(
    chain: Pipeline, requests: list[Request], n: int, folder: Path, film: bool, group: Group
) -> None:
    """Write this process's share of the pictures and their films."""
    films = folder.with_name(f"{folder.name}-film")
    for place in (folder, films) if film else (folder,):
        place.mkdir(parents=True, exist_ok=True)
    numbers, settings = group.share(range(len(requests))), json.dumps(chain.settings())
    pictures = chain.pictures((requests[number] for number in numbers), film)
    bar = tqdm(pictures, total=len(numbers), desc="sampling", unit="pic", disable=group.silent)
    for number, picture in zip(numbers, bar, strict=True):
        name = _name(number, requests[number], n)
        write(folder / name, picture, settings)
        if picture.film is not None:
            tile(picture.film, columns=len(picture.film) // 2).save(films / name)


def _report(chain: Pipeline, requests: list[Request], n: int, folder: Path) -> None:
    """The sheet of the first pictures, and a line about all."""
    sheet = folder.with_name(f"{folder.name}-sheet.png")
    names = [_name(number, request, n) for number, request in enumerate(requests)][:SHOWN]
    images = [Image.open(folder / name) for name in names]
    captions = [request.prompt for request in requests[:SHOWN]]
    contact_sheet(images, captions, columns=n if n > 1 else 4).save(sheet)
    settings = chain.settings()
    print(
        f"{len(requests)} pictures in {folder} (look at {sheet}); "
        f"{settings['sampler']['kind']}, {settings['steps']} steps, {settings['calls']} calls, "
        f"{settings['network_evaluations']} network evaluations each"
    )


def _name(number: int, request: Request, n: int) -> str:
    """The file of a picture; `n` are of the same prompt."""
    seed, i = request.key
    return f"{number // n:03d}-{slug(request.prompt)}-seed{seed}-{i}.png"


def slug(prompt: str) -> str:
    """A short file name for a prompt."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40] or "empty"


def write(path: Path, picture: Picture, settings: str) -> None:
    """Save a picture with its prompt, seed and settings (JSON) as PNG text."""
    meta = PngImagePlugin.PngInfo()
    request = picture.request
    meta.add_itxt("prompt", request.prompt)
    meta.add_itxt("negative", request.negative)
    meta.add_text("seed", str(request.key[0]))
    meta.add_text("index", str(request.key[1]))
    meta.add_text("settings", settings)
    picture.image().save(path, pnginfo=meta)
