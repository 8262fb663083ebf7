"""Commands that make pictures with what was trained."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmtool.chain.options import MaskFrom
from dmtool.cli.app import HYDRA, OVERRIDES, Seed, app, seed_word, sort_words
from dmtool.errors import UserError, exit_codes

if TYPE_CHECKING:
    from dmtool.chain.options import SampleOptions


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def sample(
    context: typer.Context,
    prompt: Annotated[
        list[str] | None, typer.Option(help="What to paint; give it again for more.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts, one a line.")] = None,
    wildcards: Annotated[
        Path | None, typer.Option(help="A folder: __colour__ in a prompt is a line of colour.txt.")
    ] = None,
    combine: Annotated[
        bool, typer.Option("--combine", help="All of {a|b} and __list__, not one a picture.")
    ] = False,
    n: Annotated[int, typer.Option(min=1, help="Pictures for each prompt.")] = 1,
    seed: Seed = None,
    index: Annotated[int, typer.Option(min=0, help="i of the first picture.")] = 0,
    negative: Annotated[str, typer.Option(help="What to stay away from.")] = "",
    out: Annotated[Path | None, typer.Option(help="Directory; default: RUN/samples.")] = None,
    film: Annotated[
        bool, typer.Option(help="Also the steps of each picture: a strip, and an animation.")
    ] = False,
    init: Annotated[Path | None, typer.Option(help="A picture to begin with.")] = None,
    strength: Annotated[
        float | None, typer.Option(help="Share of the steps that it goes through, in (0, 1].")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="White where it is painted anew.")] = None,
    mask_from: Annotated[
        MaskFrom, typer.Option(help="Whether white or transparent parts of it are painted.")
    ] = MaskFrom.WHITE,
    outpaint: Annotated[
        str | None,
        typer.Option(help="Pixels to paint around it.", metavar="LEFT,TOP,RIGHT,BOTTOM"),
    ] = None,
    vary: Annotated[
        float | None, typer.Option(help="The first picture, and others so far from it, in (0, 1].")
    ] = None,
    interpolate: Annotated[
        int | None, typer.Option(help="Pictures on the way from each prompt to the next.")
    ] = None,
    to_seed: Annotated[
        int | None, typer.Option(min=0, help="Where --interpolate leads from the seed.")
    ] = None,
) -> None:
    """Paint pictures of prompts: text -> noise predictor -> decoder -> upsampler."""
    from dmtool.chain.options import SampleOptions, borders
    from dmtool.chain.prompts import Wildcards, gathered
    from dmtool.cli import hydra_main, tasks
    from dmtool.files import outputs

    with exit_codes():
        around = None if outpaint is None else borders(outpaint)
        lists = Wildcards(wildcards)
        options = SampleOptions(
            prompts=gathered(prompt or [], prompts, lists if combine else None), wildcards=lists,
            n=n, index=index, negative=negative, out=out and outputs.folder(out), film=film,
            init=init, mask=mask, mask_from=mask_from,
            outpaint=around, vary=vary, frames=interpolate, to_seed=to_seed,
        )  # fmt: skip
        words = context.args + seed_word(seed) + _strength_word(strength, options)
    task = partial(tasks.sample, options=options)
    hydra_main.run("sample", task, words, apart=("run",), out=out)


def _strength_word(strength: float | None, options: SampleOptions) -> list[str]:
    """The override that --strength stands for."""
    if strength is None:
        return []
    if options.init is None:
        raise UserError("--strength is of a picture to begin with: name it by --init FILE")
    if not 0 < strength <= 1:
        raise UserError(f"--strength {strength} is outside (0, 1]: 1 keeps nothing of the picture")
    masked = options.mask is not None or options.outpaint is not None
    return [f"edit.{'inpaint.' if masked else ''}strength={strength}"]


@app.command("tune-sampler", context_settings=HYDRA, epilog=OVERRIDES)
def tune_sampler(
    context: typer.Context,
    out: Annotated[
        str | None, typer.Option(help="JSON file; default: what `sample` begins with from now on.")
    ] = None,
) -> None:
    """Search the best sampler, steps and guidance for few calls: `run=NAME calls=8`."""
    from dmtool.cli import hydra_main, tasks

    with exit_codes():
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("tune-sampler is the work of one process: start it without a launcher")
    task = partial(tasks.measure, name="tune_sampler", out=out)
    hydra_main.run("tune_sampler", task, context.args, apart=("run", "artifact"), out=out)


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def reconstruct(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(help="Picture files, and overrides.")],
    out: Annotated[str | None, typer.Option(help="Directory; default: in RUN.")] = None,
) -> None:
    """Pass your own pictures through a run's autoencoder."""
    from dmtool.cli import hydra_main, tasks

    files, overrides = sort_words([*words, *context.args])
    task = partial(tasks.reconstruct, files=files, out=out)
    hydra_main.run("reconstruct", task, overrides, apart=("run",), out=out)


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def upscale(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(help="Picture files, and overrides.")],
    prompt: Annotated[str, typer.Option(help="For an upsampler that was trained with text.")] = "",
    seed: Seed = None,
    out: Annotated[str | None, typer.Option(help="Directory; default: in RUN.")] = None,
) -> None:
    """Enlarge your own pictures with a run's upsampler."""
    from dmtool.cli import hydra_main, tasks

    files, overrides = sort_words([*words, *context.args])
    task = partial(tasks.upscale, files=files, prompt=prompt, out=out)
    hydra_main.run("upscale", task, overrides + seed_word(seed), apart=("run",), out=out)
