"""Checkpoints: all that a resumed run needs, in safetensors and JSON."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from dmtool import runs
from dmtool.cache import file_digest
from dmtool.errors import UserError
from dmtool.train.ema import Ema

log = logging.getLogger(__name__)

FILES = ("model", "ema", "optimizer")


@dataclass
class Progress:
    """How far a run is: pictures seen, seconds spent, and whether its limit is reached."""

    pictures: int = 0
    seconds: float = 0.0
    done: bool = False
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass
class State:
    """The one list of everything that a checkpoint holds. Losses' random numbers need no state:
    they are functions of the pictures seen."""

    network: nn.Module
    ema: Ema
    optimizers: list[Optimizer]
    scaler: GradScaler
    progress: Progress

    def save(self, folder: Path, keep: int) -> None:
        """Write `folder/PICTURES` atomically and delete all but the newest `keep`."""
        path = folder / f"{self.progress.pictures:012d}"
        runs.replace_directory(path, self._fill)
        for old in _all(folder)[:-keep]:
            shutil.rmtree(old)

    def _fill(self, path: Path) -> None:
        tensors, groups = _flatten(self.optimizers)
        contents = {"model": self.network.state_dict(), "ema": self.ema.weights}
        for name, content in {**contents, "optimizer": tensors}.items():
            runs.write_tensors(path / f"{name}.safetensors", content)
        state = {
            "progress": asdict(self.progress),
            "groups": groups,
            "scaler": self.scaler.state_dict(),
            "sha256": {name: file_digest(path / f"{name}.safetensors") for name in FILES},
        }
        (path / "state.json").write_text(json.dumps(state))

    def load_newest(self, folder: Path) -> bool:
        """Go on from the newest checkpoint that is whole; damaged ones are reported."""
        for path in reversed(_all(folder)):
            try:
                self._load(path)
                return True
            except (UserError, json.JSONDecodeError, OSError) as error:
                log.warning("%s cannot be used, taking the one before: %s", path, error)
        return False

    def _load(self, path: Path) -> None:
        state = json.loads((path / "state.json").read_text())
        for name in FILES:
            if file_digest(path / f"{name}.safetensors") != state["sha256"][name]:
                raise UserError(f"{name}.safetensors is damaged")
        self.network.load_state_dict(runs.read_tensors(path / "model.safetensors"))
        self.ema.load(runs.read_tensors(path / "ema.safetensors"))
        _unflatten(self.optimizers, runs.read_tensors(path / "optimizer.safetensors"), state)
        self.scaler.load_state_dict(state["scaler"])
        vars(self.progress).update(state["progress"])


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def _flatten(optimizers: list[Optimizer]) -> tuple[dict[str, Tensor], list[Any]]:
    """The optimizers' state as tensors by 'optimizer.parameter.name', and their groups as JSON."""
    tensors: dict[str, Tensor] = {}
    groups = []
    for i, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        groups.append(state["param_groups"])
        for parameter, values in state["state"].items():
            tensors |= {f"{i}.{parameter}.{name}": value for name, value in values.items()}
    return tensors, groups


def _unflatten(optimizers: list[Optimizer], tensors: dict[str, Tensor], saved: Any) -> None:
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, value in tensors.items():
        i, parameter, name = key.split(".", 2)
        states[int(i)].setdefault(int(parameter), {})[name] = value
    for optimizer, state, groups in zip(optimizers, states, saved["groups"], strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": groups})
