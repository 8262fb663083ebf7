"""The command line. Typer owns the named options; all other words go to Hydra unchanged."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dmtool.errors import UserError, exit_codes, interruptible

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach us, and we say one line
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost process is one line of ours
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")  # a bar in a file is one endless line

app = typer.Typer(
    name="dmtool",
    help="Train a text-to-image system from scratch, stage by stage, and sample from it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cache = typer.Typer(
    help="List, verify or remove what was computed once and kept.", no_args_is_help=True
)
app.add_typer(cache, name="cache")
HYDRA = {"allow_extra_args": True, "ignore_unknown_options": True}
Seed = Annotated[
    int | None, typer.Option(min=0, help="Picture i is drawn from (seed, i); default: 0.")
]
Stage = Annotated[str, typer.Argument(help="vae, unet or upsampler.")]
OVERRIDES = "All further words are Hydra's: key=value, group=option, --cfg job, -m for sweeps."


@app.command("train-vae", context_settings=HYDRA, epilog=OVERRIDES)
def train_vae(context: typer.Context) -> None:
    """Train the autoencoder: pictures -> latents -> pictures."""
    _train("train_vae", context.args)


@app.command("train-unet", context_settings=HYDRA, epilog=OVERRIDES)
def train_unet(context: typer.Context) -> None:
    """Train the noise predictor: noise and a caption -> a latent, or a small picture."""
    _train("train_unet", context.args)


@app.command("train-upsampler", context_settings=HYDRA, epilog=OVERRIDES)
def train_upsampler(context: typer.Context) -> None:
    """Train the upsampler: a small picture -> a large one."""
    _train("train_upsampler", context.args)


def _train(name: str, arguments: list[str]) -> None:
    with exit_codes():
        interruptible()
        from dmtool import hydra_main, tasks

        hydra_main.run(name, getattr(tasks, name), arguments)


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
        from dmtool import hydra_main, tasks

        task = partial(tasks.plan, stage=stage, devices=devices, out=out)
        hydra_main.run(f"train_{stage}", task, context.args)


@app.command("verify-resume", context_settings=HYDRA, epilog=OVERRIDES)
def verify_resume(context: typer.Context, stage: Stage) -> None:
    """Check that a stage's training, killed and resumed, ends like one that was not."""
    with exit_codes():
        _check_stage("verify-resume", stage, context.args)
    from dmtool import hydra_main, tasks

    task = partial(tasks.verify_resume, stage=stage, words=context.args)
    hydra_main.run(f"train_{stage}", task, context.args)


def _check_stage(command: str, stage: str, arguments: list[str]) -> None:
    """UserError for what is no stage, and where several processes or jobs were asked for."""
    from dmtool.schemas import STAGES

    if stage not in STAGES:
        raise UserError(f"{stage!r} is no stage; type: dmtool {command} vae (or unet, ...)")
    if {"-m", "--multirun"} & set(arguments) or "WORLD_SIZE" in os.environ:
        raise UserError(f"{command} trains for itself, in one process: no -m, no launcher")


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
    from dmtool import hydra_main, tasks

    task = partial(tasks.sample, prompts=prompt, n=n, negative=negative, out=out, film=film)
    hydra_main.run("sample", task, context.args + _seed(seed))


@app.command("eval-fid", context_settings=HYDRA, epilog=OVERRIDES)
def eval_fid(
    context: typer.Context,
    real: Annotated[str | None, typer.Option(help="A folder of real pictures.")] = None,
    fake: Annotated[str | None, typer.Option(help="A folder of generated ones.")] = None,
    out: Annotated[str | None, typer.Option(help="JSON file; default: in RUN/eval.")] = None,
) -> None:
    """Measure a run's pictures, or one folder against another, by Fréchet distance."""
    from dmtool import hydra_main, tasks

    with exit_codes():
        if (real is None) != (fake is None):
            raise UserError("--real and --fake go together: two folders of pictures")
    task = partial(tasks.eval_fid, real=real, fake=fake, out=out)
    hydra_main.run("eval_fid", task, context.args)


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def reconstruct(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(help="Picture files, and overrides.")],
    out: Annotated[str | None, typer.Option(help="Directory; default: in RUN.")] = None,
) -> None:
    """Pass your own pictures through a run's autoencoder."""
    from dmtool import hydra_main, tasks

    files, overrides = _sort([*words, *context.args])
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

    files, overrides = _sort([*words, *context.args])
    task = partial(tasks.upscale, files=files, prompt=prompt, out=out)
    hydra_main.run("sample", task, overrides + _seed(seed))


def _seed(seed: int | None) -> list[str]:
    """The override that --seed stands for; without it `seed=` is left as Hydra has it."""
    return [] if seed is None else [f"seed={seed}"]


def _sort(words: list[str]) -> tuple[list[str], list[str]]:
    """(files, Hydra's words): an override holds '=' or begins with '-' and names no file."""
    overrides = [w for w in words if ("=" in w or w[:1] in "-~") and not Path(w).exists()]
    return [word for word in words if word not in overrides], overrides


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def ema(
    context: typer.Context,
    sigma_rel: Annotated[float | None, typer.Option(help="Width to export as ema-WIDTH.")] = None,
    search: Annotated[str | None, typer.Option(help="Widths to compare: 0.03,0.05,0.1.")] = None,
    metric: Annotated[str | None, typer.Option(help="Held-out figure that chooses.")] = None,
    keep: Annotated[bool, typer.Option(help="Export the best width of the search.")] = False,
) -> None:
    """Average a trained stage over another length, or search the best: `run=NAME stage=unet`."""
    from dmtool import hydra_main, tasks

    with exit_codes():
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


@app.command(context_settings=HYDRA, epilog=OVERRIDES)
def data(
    context: typer.Context,
    out: Annotated[str | None, typer.Option(help="PNG file of a sheet of examples.")] = None,
) -> None:
    """Build or inspect a source of pictures: `dmtool data data=folder data.path=DIR`."""
    from dmtool import hydra_main, tasks

    hydra_main.run("inspect", partial(tasks.data, out=out), context.args)


@app.command()
def demo(
    run: Annotated[str, typer.Option(help="The run's name.")] = "demo",
    root: Annotated[str, typer.Option(help="The directory of runs.")] = "runs",
) -> None:
    """Train the whole chain on packaged pictures, sample from it and measure it."""
    with exit_codes():
        from dmtool import demo as demonstration

        demonstration.demo(run, root)


@app.command()
def info(
    run: Annotated[str, typer.Argument(help="A run's name or directory.")],
    root: Annotated[str, typer.Option(help="The directory of runs.")] = "runs",
) -> None:
    """Show a run's stages side by side, and whether they fit each other."""
    with exit_codes():
        from dmtool import info as information

        typer.echo(information.describe(run, root))


@app.command()
def watch(
    run: Annotated[str, typer.Argument(help="A run's name or directory.")],
    stage: Annotated[str | None, typer.Argument(help="Default: the one that wrote last.")] = None,
    root: Annotated[str, typer.Option(help="The directory of runs.")] = "runs",
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
) -> None:
    """Show a training's curves and its latest preview in the terminal, also while it runs."""
    with exit_codes():
        from dmtool.watch import live

        show = live.once if once or not sys.stdout.isatty() else live.live
        show(run, stage, root)


@app.command("check-run")
def check_run(
    run: Annotated[str, typer.Argument(help="A run's name or directory.")],
    stage: Annotated[str | None, typer.Argument(help="Default: all that were begun.")] = None,
    root: Annotated[str, typer.Option(help="The directory of runs.")] = "runs",
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
        from dmtool.health import check

        if write:
            check.write(run, stage, root, write)
        else:
            check.check(run, stage, root, curve)


@cache.command("ls")
def cache_ls() -> None:
    """List what is kept: its name, size, whether it is complete, and what it was made from."""
    with exit_codes():
        from dmtool import entries

        typer.echo(entries.listing())


@cache.command("verify")
def cache_verify() -> None:
    """Read all of it against its checksums; exit code 3 if something is damaged."""
    with exit_codes():
        from dmtool import entries

        typer.echo(entries.verify())


@cache.command("rm")
def cache_rm(
    names: Annotated[
        list[str] | None, typer.Argument(help="As `ls` shows them, or a kind: latents, text, ...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of it.")] = False,
) -> None:
    """Remove entries; what a training needs again is made again."""
    with exit_codes():
        from dmtool import entries

        if everything == bool(names):
            raise UserError("name the entries to remove, as dmtool cache ls shows them, or --all")
        typer.echo(entries.remove(names))


def main() -> None:
    """The entry point."""
    app()
