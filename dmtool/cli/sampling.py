"""Commands that make pictures with what was trained."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from dmtool.cli.app import HYDRA, OVERRIDES, Seed, app, seed_word, sort_words
from dmtool.errors import UserError, exit_codes


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def sample(
    context: typer.Context,
    prompt: Annotated[list[str], typer.Option(help="What to paint; give it again for more.")],
    n: Annotated[int, typer.Option(min=1, help="Pictures for each prompt.")] = 1,
    seed: Seed = None,
    negative: Annotated[str, typer.Option(help="What to stay away from.")] = "",
    out: Annotated[str | None, typer.Option(help="Directory; default: RUN/samples.")] = None,
    film: Annotated[bool, typer.Option(help="Also a strip of the steps of each picture.")] = False,
) -> None:
    """Paint pictures of prompts: text -> noise predictor -> decoder -> upsampler."""
    from dmtool import defaults, hydra_main, tasks

    task = partial(tasks.sample, prompts=prompt, n=n, negative=negative, out=out, film=film)
    words = defaults.added("sample", context.args + seed_word(seed))
    hydra_main.run("sample", task, words)


@app.command("tune-sampler", context_settings=HYDRA, epilog=OVERRIDES)
def tune_sampler(
    context: typer.Context,
    out: Annotated[
        str | None, typer.Option(help="JSON file; default: what `sample` begins with from now on.")
    ] = None,
) -> None:
    """Search the best sampler, steps and guidance for few calls: `run=NAME calls=8`."""
    from dmtool import hydra_main, tasks

    with exit_codes():
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("tune-sampler is the work of one process: start it without a launcher")
    hydra_main.run("tune_sampler", partial(tasks.tune_sampler, out=out), context.args)


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def reconstruct(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(help="Picture files, and overrides.")],
    out: Annotated[str | None, typer.Option(help="Directory; default: in RUN.")] = None,
) -> None:
    """Pass your own pictures through a run's autoencoder."""
    from dmtool import hydra_main, tasks

    files, overrides = sort_words([*words, *context.args])
    hydra_main.run("sample", partial(tasks.reconstruct, files=files, out=out), overrides)


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def upscale(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(help="Picture files, and overrides.")],
    prompt: Annotated[str, typer.Option(help="For an upsampler that was trained with text.")] = "",
    seed: Seed = None,
    out: Annotated[str | None, typer.Option(help="Directory; default: in RUN.")] = None,
) -> None:
    """Enlarge your own pictures with a run's upsampler."""
    from dmtool import hydra_main, tasks

    files, overrides = sort_words([*words, *context.args])
    task = partial(tasks.upscale, files=files, prompt=prompt, out=out)
    hydra_main.run("sample", task, overrides + seed_word(seed))
