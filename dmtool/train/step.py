"""One step of the optimizer: micro-batches -> losses -> gradients -> weights -> averages."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from dmtool.cond import Cond
from dmtool.device import autocast
from dmtool.rng import generator
from dmtool.train import optim
from dmtool.train.context import Context
from dmtool.train.examples import Batch


class Step:
    """Steps the weights of a training; `model` is its network, wrapped for several processes."""

    def __init__(self, context: Context, model: nn.Module) -> None:
        self.context, self.model = context, model
        self.parameters = [p for p in model.parameters() if p.requires_grad]

    def __call__(self, micro_batches: list[Batch], fraction: float) -> None:
        """A step on this process' share of the global batch, at progress `fraction` in [0, 1]."""
        context, config = self.context, self.context.config
        factor = optim.factor(config.optim, context.progress.pictures, fraction)
        optim.set_factor(context.state.optimizers, factor)
        self.model.train()
        for i, batch in enumerate(micro_batches):
            self._gradients(batch, i, len(micro_batches))
        context.log.collect({"grad_norm": self._update()})
        context.progress.pictures += config.batch_size
        context.state.ema.update(config.batch_size, context.progress.pictures)
        context.log.lr = config.optim.lr * factor

    def _gradients(self, batch: Batch, i: int, parts: int) -> None:
        """Add the gradients of micro-batch i; those of all processes are summed with the last."""
        context = self.context
        self._seed(i)
        with nullcontext() if i == parts - 1 else context.accelerator.no_sync(self.model):
            with autocast(context.device, context.dtype):
                losses = context.stage.losses(self.model, move(batch, context.device))
            context.state.scaler.scale(losses["loss"] / parts).backward()
        context.log.collect(losses)

    def _update(self) -> Tensor:
        """Step the weights; returns the norm of the gradient before it is clipped."""
        state = self.context.state
        for optimizer in state.optimizers:
            state.scaler.unscale_(optimizer)
        clip = self.context.config.optim.clip
        norm = nn.utils.clip_grad_norm_(self.parameters, clip, foreach=True)
        for optimizer in state.optimizers:
            state.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        state.scaler.update()
        return norm

    def _seed(self, micro: int) -> None:
        """Dropout's random numbers, like all others, follow from the pictures seen."""
        context = self.context
        key = (context.progress.pictures, micro, context.accelerator.process_index)
        torch.manual_seed(generator(context.config.seed, "dropout", *key).initial_seed())


def move(batch: Batch, device: torch.device) -> Batch:
    """The batch with its pictures, noise and conditions on the device.

    Times stay on the CPU, where their coefficients are computed.
    """
    moved = {}
    for name, value in batch.items():
        if isinstance(value, Tensor) and name != "t":
            value = value.to(device, non_blocking=True)
        moved[name] = value.to(device) if isinstance(value, Cond) else value
    return moved
