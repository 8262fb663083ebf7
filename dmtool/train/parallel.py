"""How the processes of a training share its network: a copy each (DDP), or a shard each (FSDP2)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Protocol, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from dmtool.config.training import Train
from dmtool.errors import UserError
from dmtool.processes import PATIENCE
from dmtool.train import compute
from dmtool.train.ema import Ema
from dmtool.train.player import Player
from dmtool.train.shard import shard, whole
from dmtool.train.team import Team

FSDP2 = "accelerate launch --config_file scripts/accelerate/fsdp2.yaml -m dmtool ..."


class Parallel(Protocol):
    """What the loop asks of the processes together; every method is called by all of them."""

    trained: nn.Module
    """Has the parameters that are stepped, averaged and saved."""
    model: nn.Module
    """What losses call: it brings the gradients together."""

    @property
    def team(self) -> Team | None:
        """Those that write a checkpoint together; None: the main process does it alone."""
        ...

    def accumulating(self, model: nn.Module) -> AbstractContextManager[None]:
        """Within it gradients of `model` are added up in each process, not yet brought together."""
        ...

    def averaged(self, ema: Ema) -> AbstractContextManager[None]:
        """Within it the stage's network has the averaged weights, on the main process."""
        ...

    def rest(self) -> None:
        """The network was called, and will be called with other weights."""
        ...


class Copies:
    """Every process has the whole network."""

    team = None

    def __init__(self, config: Train, network: nn.Module, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.trained = network.to(accelerator.device)
        compute.prepare(network, config.compute, accelerator.device)
        self.model = accelerator.prepare_model(self.trained)

    def accumulating(self, model: nn.Module) -> AbstractContextManager[None]:
        return cast(AbstractContextManager[None], self.accelerator.no_sync(model))

    @contextmanager
    def averaged(self, ema: Ema) -> Iterator[None]:
        if not self.accelerator.is_main_process:
            yield
            return
        self.trained.eval()
        with ema.applied(), torch.no_grad():
            yield

    def rest(self) -> None:
        """Copies are always the weights themselves."""


class Shards:
    """Every process has a part of each parameter, of its gradient, state and averages.

    The stage's own network stays whole for looking at the averages, on the main process's CPU
    between the looks.
    """

    def __init__(
        self,
        config: Train,
        network: nn.Module,
        accelerator: Accelerator,
        dtype: torch.dtype,
        team: Team,
    ) -> None:
        self.accelerator, self.seen, self.team = accelerator, network, team
        trained = deepcopy(network)
        compute.prepare(trained, config.compute, accelerator.device)
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        reshard = _told("FSDP_RESHARD_AFTER_FORWARD", "true")
        self.trained = self.model = shard(trained, mesh, dtype, reshard=reshard)
        if not accelerator.is_main_process:
            network.to("meta")

    @contextmanager
    def accumulating(self, model: nn.Module) -> Iterator[None]:
        assert isinstance(model, FSDPModule)
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)

    @contextmanager
    def averaged(self, ema: Ema) -> Iterator[None]:
        main = self.accelerator.is_main_process
        weights = whole(ema.weights, keep=main)
        if not main:
            yield
            return
        self.seen.load_state_dict(weights)
        self.seen.to(self.accelerator.device).eval()
        with torch.no_grad():
            yield
        self.seen.to("cpu")

    def rest(self) -> None:
        """What was gathered for a forward pass alone would be taken for the weights of the next."""
        for module in self.trained.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def build(
    config: Train, players: Mapping[str, Player], accelerator: Accelerator, dtype: torch.dtype
) -> dict[str, Parallel]:
    """Share the players' networks among the processes; `auto` is as accelerate's configuration
    says. One process has nothing to share."""
    networks = {name: player.network for name, player in players.items()}
    if dtype == torch.float64:
        networks = {name: network.to(dtype) for name, network in networks.items()}
    if not _sharded(config, players, accelerator):
        return {name: Copies(config, network, accelerator) for name, network in networks.items()}
    team = Team(dist.new_group(backend="gloo", timeout=PATIENCE))
    return {
        name: Shards(config, network, accelerator, dtype, team)
        for name, network in networks.items()
    }


def unwrapped(model: nn.Module) -> nn.Module:
    """The network that losses call, itself: its parts and buffers have their own names."""
    return cast(nn.Module, model.module) if isinstance(model, DistributedDataParallel) else model


def _sharded(config: Train, players: Mapping[str, Player], accelerator: Accelerator) -> bool:
    """Whether each process has a part of the weights; UserError if that cannot be."""
    kind, engine = config.parallel, "fsdp2" if _told("ACCELERATE_USE_FSDP") else "ddp"
    if accelerator.num_processes == 1:
        return False
    if kind == "ddp" and engine == "fsdp2":
        raise UserError(
            "parallel=ddp, but accelerate's configuration says FSDP: take parallel=auto"
        )
    if "fsdp2" not in (kind, engine):
        return False
    for name in ("channels_last", "compile"):
        if getattr(config.compute, name):
            raise UserError(f"compute.{name} does not go with FSDP2: leave it off, or parallel=ddp")
    if any(player.optim.kind == "adam8bit" for player in players.values()):
        raise UserError("optim=adam8bit does not go with FSDP2: take optim=adamw, or parallel=ddp")
    return True


def refuse_other_engines() -> None:
    """UserError if accelerate's configuration asks for what this training does not do."""
    if _told("ACCELERATE_USE_DEEPSPEED"):
        raise UserError(
            "DeepSpeed is not supported, FSDP2 shards the same: for ZeRO-3 type "
            f"{FSDP2}; for ZeRO-1 and ZeRO-2 set fsdp_reshard_after_forward: false in that file"
        )
    if _told("ACCELERATE_USE_MEGATRON_LM"):
        raise UserError(f"Megatron-LM is not supported; to shard a network type: {FSDP2}")
    if not _told("ACCELERATE_USE_FSDP"):
        return
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise UserError(f"FSDP 1 is not supported, set fsdp_version: 2, or type: {FSDP2}")
    for name in ("OFFLOAD_PARAMS", "ACTIVATION_CHECKPOINTING"):
        if _told(f"FSDP_{name}"):
            raise UserError(f"fsdp_{name.lower()} is not supported: set it to false")


def _told(variable: str, otherwise: str = "false") -> bool:
    """Whether accelerate's launcher has set a switch."""
    return os.environ.get(variable, otherwise).lower() in ("true", "1")
