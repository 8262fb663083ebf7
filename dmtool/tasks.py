"""What Hydra calls: a composed config becomes a checked one, and the work is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dmtool.config import validate
from dmtool.errors import exit_codes
from dmtool.schemas import EvalFid, HasData, Train, TrainUnet, TrainUpsampler, TrainVae, Use

C = TypeVar("C", bound=Train)

Task = Callable[[DictConfig], None]


def train_vae(config: DictConfig) -> None:
    with exit_codes():
        checked = _training(config, TrainVae)
        from dmtool.train import vae

        vae.train(checked)


def train_unet(config: DictConfig) -> None:
    with exit_codes():
        checked = _training(config, TrainUnet)
        from dmtool.train import unet

        unet.train(checked)


def train_upsampler(config: DictConfig) -> None:
    with exit_codes():
        checked = _training(config, TrainUpsampler)
        from dmtool.train import upsampler

        upsampler.train(checked)


def sample(
    config: DictConfig, prompts: list[str], n: int, negative: str, out: str | None, film: bool
) -> None:
    with exit_codes():
        checked = validate(config, Use)
        from dmtool import sample as sampling

        sampling.sample(checked, prompts, n, negative, Path(out) if out else None, film)


def eval_fid(config: DictConfig, real: str | None, fake: str | None, out: str | None) -> None:
    with exit_codes():
        checked = validate(config, EvalFid)
        from dmtool.evaluate import fid

        if real and fake:
            fid.folders(checked, Path(real), Path(fake), Path(out) if out else None)
        else:
            fid.run(checked, Path(out) if out else None)


def reconstruct(config: DictConfig, files: list[str], out: str | None) -> None:
    with exit_codes():
        checked = validate(config, Use)
        from dmtool import apply

        apply.reconstruct(checked, [Path(file) for file in files], Path(out) if out else None)


def upscale(config: DictConfig, files: list[str], prompt: str, out: str | None) -> None:
    with exit_codes():
        checked = validate(config, Use)
        from dmtool import apply

        paths = [Path(file) for file in files]
        apply.upscale(checked, paths, prompt, Path(out) if out else None)


def data(config: DictConfig, out: str | None) -> None:
    with exit_codes():
        checked = validate(config, HasData).data
        from dmtool.data import inspect, source

        loaded = source.load(checked)
        print(inspect.describe(inspect.summary(loaded, checked)))
        path = Path(out or f"{checked.kind}-sheet.png")
        inspect.sheet(loaded.dataset, checked, path)
        print(f"examples: {path}")


def _training(config: DictConfig, schema: type[C]) -> C:
    """The checked config; in a sweep each job has its own run, as its directory says."""
    hydra = HydraConfig.get()
    try:
        checked = validate(config, schema)
    except Exception:
        _discard_empty(Path(hydra.runtime.output_dir))
        raise
    if hydra.mode != RunMode.MULTIRUN:
        return checked
    return replace(checked, run=f"{checked.run}-{hydra.job.num}")


def _discard_empty(folder: Path) -> None:
    """Hydra makes the run directory before the config is checked: leave no empty one behind."""
    for path in (folder, folder.parent):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
