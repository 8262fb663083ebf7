"""The demo, and commands that look at data and runs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dmtool.cli.app import HYDRA, OVERRIDES, Root, Run, app
from dmtool.errors import UserError, exit_codes
from dmtool.say import say

COMPARED = "The words are Hydra's: key=value, group=option; commas compare several of them."


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def data(
    context: typer.Context,
    out: Annotated[str | None, typer.Option(help="PNG file of a sheet of examples.")] = None,
) -> None:
    """Build or inspect a source of pictures: `dmtool data data=folder data.path=DIR`."""
    from dmtool.cli import hydra_main, tasks

    hydra_main.run("inspect", partial(tasks.data, out=out), context.args)


@app.command()
def demo(
    run: Annotated[str, typer.Option(help="The run's name.")] = "demo",
    root: Root = "runs",
) -> None:
    """Train the whole chain on packaged pictures, sample from it and measure it."""
    with exit_codes():
        from dmtool.cli import demo as demonstration

        demonstration.demo(run, root)


@app.command()
def info(
    run: Annotated[str | None, typer.Argument(help="A run's name or directory.")] = None,
    root: Root = "runs",
    kinds: Annotated[
        bool, typer.Option("--kinds", help="What can be chosen, and from which packages.")
    ] = False,
) -> None:
    """Show a run's stages side by side, and whether they fit each other."""
    with exit_codes():
        if kinds == (run is not None):
            raise UserError("name a run, as dmtool info demo, or say --kinds")
        if run is None:
            from dmtool.look import kinds as choices

            say(choices.listing())
        else:
            from dmtool.look import info as information

            say(information.describe(run, root))


@app.command("plot-noise", epilog=COMPARED)
def plot_noise(
    words: Annotated[list[str] | None, typer.Argument(help="Overrides: noise=flow,cosine")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All kinds of noise.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="What is shown with noise; default: a packaged emoji.")
    ] = None,
    out: Annotated[Path, typer.Option(help="PNG or SVG file.")] = Path("noise.png"),
) -> None:
    """Draw noise processes: alpha, sigma, log-SNR, training times, weights, and a picture."""
    with exit_codes():
        from dmtool.files import outputs
        from dmtool.look import noise_plot

        path = outputs.file(out, outputs.DRAWING)
        noise_plot.draw(words or [], everything, picture, path)
        say(f"drawn: {path}")


@app.command()
def watch(
    run: Run,
    stage: Annotated[str | None, typer.Argument(help="Default: the one that wrote last.")] = None,
    root: Root = "runs",
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
) -> None:
    """Show a training's curves and its latest preview in the terminal, also while it runs."""
    with exit_codes():
        from dmtool.look.watch import live

        show = live.once if once or not sys.stdout.isatty() else live.live
        show(run, stage, root)


@app.command("check-run")
def check_run(
    run: Run,
    stage: Annotated[str | None, typer.Argument(help="Default: all that were begun.")] = None,
    root: Root = "runs",
    curve: Annotated[
        Path | None, typer.Option(help="Reference to compare with; default: the demo's.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Make the run's own curve a reference: a JSON file.")
    ] = None,
) -> None:
    """Judge a training by its figures: exit code 3 if something is unhealthy."""
    with exit_codes():
        if curve and write:
            raise UserError("--curve compares, --write makes a reference: give one of them")
        from dmtool.files import outputs
        from dmtool.look.health import check

        if write:
            check.write(run, stage, root, outputs.file(write, outputs.CURVE, "--write"))
        else:
            check.check(run, stage, root, curve)


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="Runs' names or directories.")],
    root: Root = "runs",
    out: Annotated[Path | None, typer.Option(help="HTML file; default: in the first run.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also compare figures of different protocol.")
    ] = False,
) -> None:
    """Write one HTML page of runs: figures, curves, pictures, configs, where all came from."""
    with exit_codes():
        from dmtool.files import outputs
        from dmtool.look.report import page

        path = outputs.file(out, outputs.PAGE) if out else None
        say(f"written to {page.report(runs, root, path, force)}")
