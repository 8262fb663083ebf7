"""`dmtool cache`: what was computed once and kept."""

from __future__ import annotations

from typing import Annotated

import typer

from dmtool.cli.app import app
from dmtool.errors import UserError, exit_codes
from dmtool.say import say

cache = typer.Typer(
    help="List, verify or remove what was computed once and kept.", no_args_is_help=True
)
app.add_typer(cache, name="cache")


@cache.command("ls")
def cache_ls() -> None:
    """List what is kept: its name, size, whether it is complete, and what it was made from."""
    with exit_codes():
        from dmtool.files import entries

        say(entries.listing())


@cache.command("verify")
def cache_verify() -> None:
    """Read all of it against its checksums; exit code 3 if something is damaged."""
    with exit_codes():
        from dmtool.files import entries

        say(entries.verify())


@cache.command("rm")
def cache_rm(
    names: Annotated[
        list[str] | None, typer.Argument(help="As `ls` shows them, or a kind: latents, text, ...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of it.")] = False,
) -> None:
    """Remove entries; what a training needs again is made again."""
    with exit_codes():
        from dmtool.files import entries

        if everything == bool(names):
            raise UserError("name the entries to remove, as dmtool cache ls shows them, or --all")
        say(entries.remove(names))
