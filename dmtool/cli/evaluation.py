"""Commands that measure."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from dmtool.cli.app import HYDRA, OVERRIDES, app
from dmtool.errors import UserError, exit_codes


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


@app.command("eval-align", context_settings=HYDRA, epilog=OVERRIDES)
def eval_align(
    context: typer.Context,
    fake: Annotated[str | None, typer.Option(help="A folder of captioned pictures.")] = None,
    out: Annotated[str | None, typer.Option(help="JSON file; default: in RUN/eval.")] = None,
) -> None:
    """Measure whether a run's pictures, or a folder's, show their captions."""
    from dmtool import hydra_main, tasks

    hydra_main.run("eval_align", partial(tasks.eval_align, fake=fake, out=out), context.args)
