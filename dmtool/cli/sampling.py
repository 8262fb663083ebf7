"""Commands that make pictures with what was trained."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from dmtool.cli.app import HYDRA, OVERRIDES, Seed, app, seed_word, sort_words


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def sample(
    context: typer.Context,
    prompt: Annotated[
        list[str] | None, typer.Option(help="What to paint; give it again for more.")
    ] = None,
    prompts: Annotated[str | None, typer.Option(help="A file of prompts, one a line.")] = None,
    wildcards: Annotated[
        str | None, typer.Option(help="A folder: __colour__ in a prompt is a line of colour.txt.")
    ] = None,
    combine: Annotated[
        bool, typer.Option("--combine", help="All of {a|b} and __list__, not one a picture.")
    ] = False,
    n: Annotated[int, typer.Option(min=1, help="Pictures for each prompt.")] = 1,
    seed: Seed = None,
    negative: Annotated[str, typer.Option(help="What to stay away from.")] = "",
    out: Annotated[str | None, typer.Option(help="Directory; default: RUN/samples.")] = None,
    film: Annotated[bool, typer.Option(help="Also a strip of the steps of each picture.")] = False,
) -> None:
    """Paint pictures of prompts: text -> noise predictor -> decoder -> upsampler."""
    from dmtool import hydra_main, tasks

    said = tasks.Said(prompt or [], prompts, wildcards, combine)
    task = partial(tasks.sample, said=said, n=n, negative=negative, out=out, film=film)
    hydra_main.run("sample", task, context.args + seed_word(seed))


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
