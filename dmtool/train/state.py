"""All that a training changes, and what of it a checkpoint holds."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from dmtool.device import asynchronous, locks_pages
from dmtool.errors import UserError
from dmtool.files.tensors import read_tensors
from dmtool.train import checkpoint, team
from dmtool.train.checkpoint import HostCopy, SharedCopy, united
from dmtool.train.ema import Ema
from dmtool.train.optim import optim_state
from dmtool.train.progress import Progress
from dmtool.train.shard import local, whole
from dmtool.train.team import Team

log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]


@dataclass
class Learner:
    """A player as it is trained: its network, what steps it, and its averages, if it has some."""

    network: nn.Module
    optimizers: list[Optimizer]
    ema: Ema | None = None

    @property
    def average(self) -> Ema:
        """Of who has one."""
        assert self.ema is not None
        return self.ema

    def weights(self) -> dict[str, Tensors]:
        """Its weights and their averages, in the memory where they are, by file."""
        averages = {"ema": self.ema.state()} if self.ema else {}
        return {"model": self.network.state_dict(), **averages}


@dataclass
class State:
    """The one list of everything that a checkpoint holds. Losses' random numbers need no state:
    they are functions of the pictures seen.

    Of the `learners` the first is what is exported.
    """

    learners: dict[str, Learner]
    scaler: GradScaler
    progress: Progress
    team: Team | None = None
    buffers: dict[str, Tensors] = field(default_factory=dict)

    @property
    def main(self) -> Learner:
        return next(iter(self.learners.values()))

    def copy(self) -> HostCopy:
        """Everything as it is now, in buffers that the next copy uses again.

        They are page-locked for a GPU, and stay: fresh memory costs more time than the copying.
        A team must copy together.
        """
        optimizers = {
            name: optim_state.flatten(learner.optimizers) for name, learner in self.learners.items()
        }
        tensors = {self._name(name, "optimizer"): each for name, (each, _) in optimizers.items()}
        for name, content in (self._weights() | tensors).items():
            _to_host(content, self.buffers.setdefault(name, {}))
        device = next(self.main.network.parameters()).device
        if asynchronous(device):
            torch.accelerator.synchronize(device)
        groups, *others = ((name, each) for name, (_, each) in optimizers.items())
        settings = {"groups": groups[1], "scaler": self.scaler.state_dict(), "others": dict(others)}
        progress, average = deepcopy(self.progress), self.main.average
        if self.team is None:
            weights = average.exported_in(self.buffers["ema"])
            return HostCopy(progress, self.buffers, settings, weights)
        weights = whole(average.weights, keep=self.team.leads)
        return SharedCopy(progress, self.buffers, settings, weights, self.team)

    def load_newest(self, folder: Path) -> bool:
        """Go on from the newest checkpoint that is whole; damaged ones are reported and put aside.

        False if there is none; UserError if there are some and none is whole.
        """
        damaged: list[Path] = []
        for path in reversed(checkpoint.all_in(folder)):
            try:
                self.load(path)
            except (ValueError, KeyError, OSError) as error:
                log.warning("%s cannot be used, taking the one before: %s", path, error)
                damaged.append(path)
            else:
                for each in damaged:
                    _put_aside(each)
                return True
        if damaged:
            run = folder.parent
            raise UserError(f"no checkpoint in {folder} is whole; delete {run} to begin anew")
        return False

    def load(self, path: Path) -> None:
        """Take up a checkpoint; ValueError, KeyError or OSError if it is damaged."""
        state, shards = checkpoint.verified(path)
        optimizers = (self._parts if shards or self.team else self._files)(path)
        for name, learner in self.learners.items():
            groups = state.groups if learner is self.main else state.others[name]
            optim_state.unflatten(learner.optimizers, optimizers[name], groups)
        self.scaler.load_state_dict(state.scaler)
        self.progress.load(state.progress)

    def _files(self, path: Path) -> dict[str, Tensors]:
        """Load weights from files of whole tensors; the optimizers' tensors, by player."""
        weights = self._weights()
        optimizers = {name: self._name(name, "optimizer") for name in self.learners}
        found = {
            name: checkpoint.part(read_tensors(path / checkpoint.file(name)), name)
            for name in (*weights, *optimizers.values())
        }
        for name, content in weights.items():
            _check_shapes(content, found[name])
        for name, learner in self.learners.items():
            learner.network.load_state_dict(found[self._name(name, "model")])
            if learner.ema:
                learner.ema.load(found[self._name(name, "ema")])
        return {name: found[file] for name, file in optimizers.items()}

    def _parts(self, path: Path) -> dict[str, Tensors]:
        """The same of this process's parts, written whole or in shards by however many others."""
        weights, stored = united(self._weights()), team.stored(path)
        rest = {key: tensor for key, tensor in stored.items() if key not in weights}
        found: dict[str, Tensors] = {}
        for name, learner in self.learners.items():
            mine = checkpoint.part(rest, self._name(name, "optimizer"))
            found[name] = optim_state.empty(learner.optimizers, mine)
        optimizers = {self._name(name, "optimizer"): tensors for name, tensors in found.items()}
        team.read(path, weights | united(optimizers))
        return found

    def _weights(self) -> dict[str, Tensors]:
        """Those of networks and averages, in the memory where they are."""
        return {
            self._name(name, kind): tensors
            for name, learner in self.learners.items()
            for kind, tensors in learner.weights().items()
        }

    def _name(self, player: str, kind: str) -> str:
        """Of a player's file."""
        return kind if self.learners[player] is self.main else f"{player}.{kind}"


def _check_shapes(own: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    for name in sorted(own.keys() | stored.keys()):
        if name not in own or name not in stored or own[name].shape != stored[name].shape:
            raise UserError(f"{name} is that of another network")


def _put_aside(path: Path) -> None:
    """Rename a damaged checkpoint: it would count as the newest for ever."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def _to_host(tensors: Tensors, buffers: Tensors) -> None:
    for name, tensor in tensors.items():
        if name not in buffers:
            buffers[name] = torch.empty_like(
                tensor,
                device="cpu",
                pin_memory=locks_pages(tensor.device),
                memory_format=torch.contiguous_format,
            )
        local(buffers[name]).copy_(local(tensor), non_blocking=True)
