"""`dmtool sample`: PNG files that say how they were made, and a sheet of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, PngImagePlugin
from tqdm import tqdm

from dmtool import pipeline, runs
from dmtool.errors import UserError
from dmtool.pipeline import Picture, Pipeline, Request
from dmtool.schemas import Use
from dmtool.sheet import contact_sheet, tile

SHOWN = 64
"""Pictures on the sheet, at most."""


def sample(
    config: Use, prompts: list[str], n: int, negative: str, out: Path | None, film: bool
) -> None:
    """Write `n` pictures of each prompt to `out` (default: the run's `samples`).

    The sheet of all and the films stand beside that directory, which holds pictures alone.
    """
    chain = pipeline.load(config)
    if not chain.text.dim and any(prompts):
        raise UserError(f'the run {config.run!r} was trained without text: use --prompt ""')
    folder = out or runs.run_dir(config.run, config.root) / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    sheet, films = (folder.with_name(f"{folder.name}-{kind}") for kind in ("sheet.png", "film"))
    shown: list[tuple[Image.Image, str]] = []
    for name, picture in _named(chain, prompts, n, config.seed, negative, film):
        write(folder / f"{name}.png", picture, chain)
        if picture.film is not None:
            films.mkdir(exist_ok=True)
            tile(picture.film, columns=len(picture.film) // 2).save(films / f"{name}.png")
        if len(shown) < SHOWN:
            shown.append((picture.image(), picture.request.prompt))
    images, captions = zip(*shown, strict=True)
    contact_sheet(images, captions, columns=n if n > 1 else 4).save(sheet)
    settings = chain.settings()
    print(
        f"{len(prompts) * n} pictures in {folder} (look at {sheet}); "
        f"{settings['sampler']}, {settings['steps']} steps, {settings['calls']} calls, "
        f"{settings['network_evaluations']} network evaluations each"
    )


def _named(
    chain: Pipeline, prompts: list[str], n: int, seed: int, negative: str, film: bool
) -> Iterator[tuple[str, Picture]]:
    """(file name, picture): picture i of a prompt is drawn from (seed, i)."""
    requests = [Request(prompt, (seed, i), negative) for prompt in prompts for i in range(n)]
    pictures = tqdm(
        chain.pictures(requests, film), total=len(requests), desc="sampling", unit="pic"
    )
    for number, picture in enumerate(pictures):
        seed, i = picture.request.key
        yield f"{number // n:03d}-{slug(picture.request.prompt)}-seed{seed}-{i}", picture


def slug(prompt: str) -> str:
    """A short file name for a prompt."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40] or "empty"


def write(path: Path, picture: Picture, chain: Pipeline) -> None:
    """Save a picture with its prompt, seed and settings as PNG text."""
    meta = PngImagePlugin.PngInfo()
    request = picture.request
    meta.add_itxt("prompt", request.prompt)
    meta.add_itxt("negative", request.negative)
    meta.add_text("seed", str(request.key[0]))
    meta.add_text("index", str(request.key[1]))
    meta.add_text("settings", json.dumps(chain.settings()))
    picture.image().save(path, pnginfo=meta)
