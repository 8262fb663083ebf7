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
    from dmtool import defaults, hydra_main, tasks

    with exit_codes():
        if (real is None) != (fake is None):
            raise UserError("--real and --fake go together: two folders of pictures")
    task = partial(tasks.eval_fid, real=real, fake=fake, out=out)
    words = context.args if real else defaults.added("eval_fid", context.args)
    hydra_main.run("eval_fid", task, words)
