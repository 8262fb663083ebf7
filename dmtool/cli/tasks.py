"""What Hydra calls: a composed config becomes a checked one, and the work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dmtool.chain.options import SampleOptions
from dmtool.config.evaluating import EvalAlign, EvalMemory, EvalUpsampler, EvalVae, FindDuplicates
from dmtool.config.kinds import option
from dmtool.config.stages import STAGES
from dmtool.config.training import Train
from dmtool.config.tuning import TuneSampler
from dmtool.config.using import (
    EvalFid,
    EvalNll,
    Inspect,
    Lengths,
    Reconstruct,
    SampleConfig,
    Stats,
    Tuned,
    Upscale,
)
from dmtool.config.validation import validate
from dmtool.errors import RESUMABLE, JobFailed, exit_codes, verdict
from dmtool.files import outputs
from dmtool.say import say

C = TypeVar("C", bound=Train)
S = TypeVar("S", bound=Tuned)


class Measurement(NamedTuple):
    """A command that measures: its config, the module of dmtool.measure whose `run` does it, what
    it writes, how the names of pictures end that it draws beside that, and whether it begins with
    an artifact's own defaults."""

    schema: Any
    module: str
    writes: outputs.ResultKind = outputs.EVALUATION
    draws: tuple[str, ...] = ()
    tuned: bool = False


MEASUREMENTS = {
    "eval_nll": Measurement(EvalNll, "likelihood.nll"),
    "eval_vae": Measurement(EvalVae, "decoders.vae", draws=("-worst.png",)),
    "eval_upsampler": Measurement(EvalUpsampler, "decoders.upsampling", draws=("-worst.png",)),
    "eval_memory": Measurement(
        EvalMemory, "memory.memory", draws=("-closest.png", "-held-out.png"), tuned=True
    ),
    "tune_sampler": Measurement(TuneSampler, "tune.tune", outputs.DEFAULTS),
}


def train(config: DictConfig, stage: str) -> None:
    with _job(), _no_empty_directory():
        checked = _own_run(validate(config, STAGES[stage]))
        from dmtool.train import stages

        stages.train(checked)


def plan(config: DictConfig, stage: str, devices: str | None, out: str | None) -> None:
    with exit_codes(), _no_empty_directory():
        checked = validate(config, STAGES[stage])
        path = _file(out, outputs.PLAN)
        from dmtool.look import plan as planning
        from dmtool.look.plan import devices as others

        say(planning.plan(checked, others.parse(devices), path))


def verify_resume(config: DictConfig, stage: str, words: list[str]) -> None:
    with _job(), _no_empty_directory():
        checked = validate(config, STAGES[stage])
        from dmtool.train import verify

        say(verify.resume(checked, words))


def sample(config: DictConfig, options: SampleOptions) -> None:
    with _job():
        checked = _tuned(config, SampleConfig)
        from dmtool.chain import sample as sampling

        sampling.sample(checked, options)


def eval_fid(config: DictConfig, real: str | None, fake: str | None, out: str | None) -> None:
    with _job():
        path = _file(out, outputs.EVALUATION)
        from dmtool.measure import fid

        if real and fake:
            fid.folders(validate(config, EvalFid), Path(real), Path(fake), path)
        else:
            fid.run(_tuned(config, EvalFid), path)


def stats(config: DictConfig, pictures: str, out: str, rows: bool) -> None:
    with _job():
        checked = validate(config, Stats)
        path = outputs.file(out, outputs.STATISTICS)
        from dmtool.measure import stats as keeping

        keeping.run(checked, Path(pictures), path, rows)


def measure(config: DictConfig, name: str, out: str | None) -> None:
    """A command whose config and result's place are all that it is told."""
    with _job():
        each = MEASUREMENTS[name]
        checked = _tuned(config, each.schema) if each.tuned else validate(config, each.schema)
        path = _file(out, each.writes, *each.draws)
        import_module(f"dmtool.measure.{each.module}").run(checked, path)


def duplicates(config: DictConfig, out: str | None) -> None:
    with _job():
        checked = validate(config, FindDuplicates)
        path = _place(
            out or f"{option(checked.data.kind)}-duplicates.json", outputs.DUPLICATES, ".png"
        )
        from dmtool.measure.memory import duplicates as finding

        finding.run(checked, path)


def eval_align(config: DictConfig, fake: str | None, out: str | None) -> None:
    with _job():
        path = _file(out, outputs.EVALUATION)
        from dmtool.measure.alignment import align

        if fake:
            align.folder(validate(config, EvalAlign), Path(fake), path)
        else:
            align.run(_tuned(config, EvalAlign), path)


def reconstruct(config: DictConfig, files: list[str], out: str | None) -> None:
    with _job():
        checked = validate(config, Reconstruct)
        folder = outputs.folder(out) if out else None
        from dmtool.chain import one_stage

        one_stage.reconstruct(checked, [Path(file) for file in files], folder)


def upscale(config: DictConfig, files: list[str], prompt: str, out: str | None) -> None:
    with _job():
        checked = validate(config, Upscale)
        folder = outputs.folder(out) if out else None
        from dmtool.chain import one_stage

        one_stage.upscale(checked, [Path(file) for file in files], prompt, folder)


def ema(
    config: DictConfig, sigma_rel: float | None, widths: list[float], metric: str | None, keep: bool
) -> None:
    with _job():
        checked = validate(config, Lengths)
        from dmtool.train import ema_lengths

        if sigma_rel is not None:
            ema_lengths.reconstruct(checked, sigma_rel)
        else:
            ema_lengths.search(checked, widths, metric, keep)


def data(config: DictConfig, out: str | None) -> None:
    with _job():
        checked = validate(config, Inspect)
        path = outputs.file(out or f"{option(checked.data.kind)}-sheet.png", outputs.PICTURE)
        from dmtool.data import inspect, source

        loaded = source.load(checked.data)
        say(inspect.describe(inspect.summary(loaded, checked.data, checked.resolution)))
        inspect.sheet(loaded.dataset, checked.data, path)
        say(f"examples: {path}")


def _tuned(config: DictConfig, schema: type[S]) -> S:
    """The checked config, which begins with the defaults of its artifact."""
    from dmtool.runs import defaults

    return defaults.tuned(config, HydraConfig.get().overrides.task, schema)


def _file(out: str | None, kind: outputs.ResultKind, *drawn: str) -> Path | None:
    """The checked place of a result, if one was named; `drawn` end the names of the pictures that
    are put beside it."""
    return None if out is None else _place(out, kind, *drawn)


def _place(out: str, kind: outputs.ResultKind, *drawn: str) -> Path:
    path = outputs.file(out, kind)
    for ending in drawn:
        outputs.file(path.with_name(f"{path.stem}{ending}"), outputs.PICTURE)
    return path


def _own_run(config: C) -> C:
    """In a sweep each job has its own run, as its directory says."""
    return replace(config, run=f"{config.run}-{HydraConfig.get().job.num}") if _sweep() else config


def _sweep() -> bool:
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


@contextmanager
def _job() -> Iterator[None]:
    """Leave with an exit code; in a sweep let the other jobs go on, unless it was interrupted.

    Hydra raises JobFailed in the process that the sweep was started from when all have ended.
    """
    try:
        with exit_codes():
            yield
    except SystemExit as end:
        error, code = end.__cause__, end.code
        if not _sweep() or error is None or code == RESUMABLE:
            raise
        job = f"job {HydraConfig.get().job.num} of the sweep"
        raise JobFailed(f"{job} failed: {verdict(error)[1]}", verdict(error)[0]) from error


@contextmanager
def _no_empty_directory() -> Iterator[None]:
    """Hydra makes the run directory before anything is checked: leave no empty one behind."""
    try:
        yield
    finally:
        folder = Path(HydraConfig.get().runtime.output_dir)
        while folder != Path.cwd() and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
