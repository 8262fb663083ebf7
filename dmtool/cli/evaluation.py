"""Commands that measure."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dmtool.cli.app import HYDRA, OVERRIDES, app
from dmtool.errors import UserError, exit_codes, interruptible


@app.command("eval-fid", context_settings=HYDRA, epilog=OVERRIDES)
def eval_fid(
    context: typer.Context,
    real: Annotated[str | None, typer.Option(help="A folder of real pictures.")] = None,
    fake: Annotated[str | None, typer.Option(help="A folder of generated ones.")] = None,
    out: Annotated[str | None, typer.Option(help="JSON file; default: in RUN/eval.")] = None,
) -> None:
    """Measure a run's pictures, or one folder against another, by Fréchet distance."""
    from dmtool import defaults, hydra_main, tasks

    with exit_codes():
        if (real is None) != (fake is None):
            raise UserError("--real and --fake go together: two folders of pictures")
    task = partial(tasks.eval_fid, real=real, fake=fake, out=out)
    words = context.args if real else defaults.added("eval_fid", context.args)
    hydra_main.run("eval_fid", task, words)


@app.command("eval-sweep", context_settings=HYDRA)
def eval_sweep(
    context: typer.Context,
    group: Annotated[str, typer.Option(help="The captions whose figures count.")] = "all",
    quality: Annotated[str, typer.Option(help="A figure of which less is better.")] = "fd",
    alignment: Annotated[str, typer.Option(help="A figure of which more is better.")] = "r@1",
    keep: Annotated[
        bool, typer.Option("--keep", help="Make the best quality's setting the run's own.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Directory; default: RUN/eval.")] = None,
) -> None:
    """Measure each combination of settings once: `run=demo sampler=heun,unipc guidance.scale=1,2`.

    All further words are eval-fid's, with commas where there are several values; the last of
    those is the axis along a curve.
    """
    with exit_codes():
        interruptible()
        from dmtool.evaluate import sweep

        sweep.sweep(context.args, sweep.Axes(group, quality, alignment), keep, out)
