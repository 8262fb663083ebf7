"""Commands that train, and those that try or go on with a training."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from dmtool.cli.app import HYDRA, OVERRIDES, app
from dmtool.errors import UserError, exit_codes, interruptible

Stage = Annotated[str, typer.Argument(help="vae, unet or upsampler.")]


@app.command("train-vae", context_settings=HYDRA, epilog=OVERRIDES)
def train_vae(context: typer.Context) -> None:
    """Train the autoencoder: pictures -> latents -> pictures."""
    _train("vae", context.args)


@app.command("train-unet", context_settings=HYDRA, epilog=OVERRIDES)
def train_unet(context: typer.Context) -> None:
    """Train the noise predictor: noise and a caption -> a latent, or a small picture."""
    _train("unet", context.args)


@app.command("train-upsampler", context_settings=HYDRA, epilog=OVERRIDES)
def train_upsampler(context: typer.Context) -> None:
    """Train the upsampler: a small picture -> a large one."""
    _train("upsampler", context.args)


def _train(stage: str, arguments: list[str]) -> None:
    with exit_codes():
        interruptible()
        from dmtool.cli import hydra_main, tasks

        hydra_main.run(f"train_{stage}", partial(tasks.train, stage=stage), arguments)


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def plan(
    context: typer.Context,
    stage: Stage,
    devices: Annotated[str | None, typer.Option(help="Others to estimate: 8xA100,T4.")] = None,
    out: Annotated[str | None, typer.Option(help="JSON file of all figures.")] = None,
) -> None:
    """Try a stage's training for a minute: its speed, memory, disk, and hours to the end."""
    with exit_codes():
        interruptible()
        _check_stage("plan", stage, context.args)
        from dmtool.cli import hydra_main, tasks

        task = partial(tasks.plan, stage=stage, devices=devices, out=out)
        hydra_main.run(f"train_{stage}", task, context.args)


@app.command("verify-resume", context_settings=HYDRA, epilog=OVERRIDES)
def verify_resume(context: typer.Context, stage: Stage) -> None:
    """Check that a stage's training, killed and resumed, ends like one that was not."""
    with exit_codes():
        _check_stage("verify-resume", stage, context.args)
    from dmtool.cli import hydra_main, tasks

    task = partial(tasks.verify_resume, stage=stage, words=context.args)
    hydra_main.run(f"train_{stage}", task, context.args)


def _check_stage(command: str, stage: str, arguments: list[str]) -> None:
    """UserError for what is no stage, and where several processes or jobs were asked for."""
    from dmtool.config.stages import STAGES

    if stage not in STAGES:
        raise UserError(f"{stage!r} is no stage; type: dmtool {command} vae (or unet, ...)")
    if {"-m", "--multirun"} & set(arguments) or "WORLD_SIZE" in os.environ:
        raise UserError(f"{command} trains for itself, in one process: no -m, no launcher")


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def ema(
    context: typer.Context,
    sigma_rel: Annotated[float | None, typer.Option(help="Width to export as ema-WIDTH.")] = None,
    search: Annotated[str | None, typer.Option(help="Widths to compare: 0.03,0.05,0.1.")] = None,
    metric: Annotated[str | None, typer.Option(help="Held-out figure that chooses.")] = None,
    keep: Annotated[bool, typer.Option(help="Export the best width of the search.")] = False,
) -> None:
    """Average a trained stage over another length, or search the best: `run=NAME stage=unet`."""
    from dmtool.cli import hydra_main, tasks

    with exit_codes():
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("dmtool ema is the work of one process: start it without a launcher")
        if (sigma_rel is None) == (search is None):
            raise UserError("give either --sigma-rel WIDTH or --search WIDTH,WIDTH,...")
        if search is None and (metric or keep):
            raise UserError("--metric and --keep go with --search")
        widths = _numbers("--search", search) if search is not None else []
    task = partial(tasks.ema, sigma_rel=sigma_rel, widths=widths, metric=metric, keep=keep)
    hydra_main.run("ema", task, context.args)


def _numbers(option: str, text: str) -> list[float]:
    """The numbers of a list with commas, each once."""
    try:
        return list(dict.fromkeys(float(word) for word in text.split(",")))
    except ValueError as error:
        raise UserError(f"{option} {text}: give numbers with commas, as 0.03,0.05,0.1") from error
