"""The command line. Typer owns the named options; all other words go to Hydra unchanged."""

from dmtool.cli import cache, evaluation, looking, sampling, training
from dmtool.cli.app import app

__all__ = ["app", "cache", "evaluation", "looking", "main", "sampling", "training"]


def main() -> None:
    """The entry point."""
    app()
