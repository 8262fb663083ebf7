"""Hydra's main function, called with the arguments that Typer left over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dmtool.config import compose
from dmtool.config.validation import conf_dir
from dmtool.errors import JobFailed, UserError, exit_codes
from dmtool.say import say

MANY = {"-m", "--multirun"}
"""The words of a sweep."""


def run(
    name: str,
    task: Callable[[DictConfig], None],
    arguments: Sequence[str],
    *,
    apart: Sequence[str] | None = None,
    out: object = None,
) -> None:
    """Compose `conf/name.yaml` with Hydra's `arguments` and call `task`; exits on errors.

    A task that writes where only the keys `apart` say (None: where Hydra says), or to `out`, is
    refused a sweep over other keys.
    """
    with exit_codes():
        _refuse_sweeps_in_process_groups(arguments)
        arguments = [compose.named(word) for word in arguments]
        if apart is not None:
            _refuse_jobs_of_one_file(arguments, apart, out)
        sys.argv = [f"dmtool {name.replace('_', '-')}", *arguments]
        main = hydra.main(config_path=str(conf_dir()), config_name=name, version_base="1.3")
        try:
            main(task)()  # the task leaves by SystemExit: all else is about the arguments
        except JobFailed as failed:
            say(f"dmtool: {failed.line}", error=True)
            raise SystemExit(failed.code) from failed
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise UserError(compose.explained(error, name)) from error
        except OSError as error:  # Hydra makes the run's directory
            raise UserError(f"{error.filename} cannot be made: {error.strerror}") from error


def _refuse_jobs_of_one_file(arguments: Sequence[str], apart: Sequence[str], out: object) -> None:
    if not MANY & set(arguments):
        return
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    swept = [word for word in words if len(compose.choices(word)) > 1]
    same = [word for word in swept if out or word.partition("=")[0] not in apart]
    if same:
        raise UserError(
            f"the jobs of {' '.join(same)} would all write {out or 'the same files'}, and the last "
            "one's would be left: call the command once for each, with --out (or measure all by "
            "dmtool eval-sweep)"
        )


def _refuse_sweeps_in_process_groups(arguments: Sequence[str]) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and MANY & set(arguments):
        raise UserError(
            "-m sweeps do not go with several processes of one training: start one sweep without "
            "accelerate launch, or one training without -m"
        )
