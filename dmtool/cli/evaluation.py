"""Commands that measure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dmtool.cli.app import HYDRA, OVERRIDES, app
from dmtool.errors import UserError, exit_codes, interruptible

APART = ("run", "split")
"""The keys that say where the jobs of a sweep write."""

Out = Annotated[str | None, typer.Option(help="JSON file; default: in RUN/eval.")]


def measured(name: str, arguments: Sequence[str], out: str | None) -> None:
    """A command of the table `tasks.MEASUREMENTS`."""
    from dmtool.cli import hydra_main, tasks

    task = partial(tasks.measure, name=name, out=out)
    hydra_main.run(name, task, arguments, apart=APART, out=out)


@app.command("eval-fid", context_settings=HYDRA, epilog=OVERRIDES)
def eval_fid(
    context: typer.Context,
    real: Annotated[str | None, typer.Option(help="Real pictures: a folder, or an .npz.")] = None,
    fake: Annotated[str | None, typer.Option(help="Generated ones, alike.")] = None,
    out: Out = None,
) -> None:
    """Measure a run's pictures, or one folder against another, by Fréchet distance."""
    from dmtool.cli import hydra_main, tasks

    with exit_codes():
        if (real is None) != (fake is None):
            raise UserError("--real and --fake go together: two folders of pictures")
    task = partial(tasks.eval_fid, real=real, fake=fake, out=out)
    apart = None if real and not out else APART
    hydra_main.run("eval_fid", task, context.args, apart=apart, out=out)


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def stats(
    context: typer.Context,
    pictures: Annotated[str, typer.Argument(help="A folder of pictures, or an .npz.")],
    out: Annotated[str, typer.Option(help="The .npz file that is written.")],
    rows: Annotated[bool, typer.Option("--rows", help="With the features themselves.")] = False,
) -> None:
    """Keep a folder's statistics in a file, for eval-fid --real and for other libraries."""
    from dmtool.cli import hydra_main, tasks

    task = partial(tasks.stats, pictures=pictures, out=out, rows=rows)
    hydra_main.run("stats", task, context.args, apart=(), out=out)


@app.command("eval-nll", context_settings=HYDRA, epilog=OVERRIDES)
def eval_nll(context: typer.Context, out: Out = None) -> None:
    """Measure how probable real pictures are to a run's noise predictor, in bits per dimension."""
    measured("eval_nll", context.args, out)


@app.command("eval-vae", context_settings=HYDRA, epilog=OVERRIDES)
def eval_vae(context: typer.Context, out: Out = None) -> None:
    """Measure a run's autoencoder: real pictures beside their reconstructions."""
    measured("eval_vae", context.args, out)


@app.command("eval-upsampler", context_settings=HYDRA, epilog=OVERRIDES)
def eval_upsampler(context: typer.Context, out: Out = None) -> None:
    """Measure a run's upsampler beside bicubic and Lanczos enlargement."""
    measured("eval_upsampler", context.args, out)


@app.command("eval-memory", context_settings=HYDRA, epilog=OVERRIDES)
def eval_memory(context: typer.Context, out: Out = None) -> None:
    """Compare a run's samples with the training pictures nearest to them."""
    measured("eval_memory", context.args, out)


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def duplicates(
    context: typer.Context,
    out: Annotated[str | None, typer.Option(help="JSON file; default: in this directory.")] = None,
) -> None:
    """List and draw pictures of a source that are nearly alike."""
    from dmtool.cli import hydra_main, tasks

    task = partial(tasks.duplicates, out=out)
    hydra_main.run("duplicates", task, context.args, apart=("data",), out=out)


@app.command("eval-align", context_settings=HYDRA, epilog=OVERRIDES)
def eval_align(
    context: typer.Context,
    fake: Annotated[str | None, typer.Option(help="A folder of captioned pictures.")] = None,
    out: Out = None,
) -> None:
    """Measure whether a run's pictures, or a folder's, show their captions."""
    from dmtool.cli import hydra_main, tasks

    task, apart = partial(tasks.eval_align, fake=fake, out=out), (*APART, "prompts")
    hydra_main.run(
        "eval_align", task, context.args, apart=None if fake and not out else apart, out=out
    )


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
        from dmtool.measure.sweep import sweep

        sweep.sweep(context.args, sweep.Axes(group, quality, alignment), keep, out)
