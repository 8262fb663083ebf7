"""One step of the optimizer: a share of the batch -> losses -> gradients -> weights -> averages."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from dmtool.device import asynchronous, autocast
from dmtool.errors import UserError
from dmtool.rng import generator
from dmtool.train import optim
from dmtool.train.context import Context
from dmtool.train.examples import Batch
from dmtool.train.optim.gate import Verdict, step_if
from dmtool.train.shard import gathered
from dmtool.train.share import more, move, parted

REHEARSED = 2
"""Steps of several processes that are tried without the others first: from the second on, the
optimizer's state is in memory as well."""


class Step:
    """Steps the weights of a training.

    Nothing waits for the device. A step whose gradient is not finite is not made; that is known on
    the CPU a step later, so the averages follow a step later too: `settle` brings them up to date.
    """

    def __init__(self, context: Context) -> None:
        self.context, self.model = context, context.parallel.model
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.parts, self.share = context.config.accumulation, context.share
        self._alone = context.accelerator.num_processes == 1
        self._rehearsals = 0 if self.model is context.state.network else REHEARSED
        self._pending: tuple[Verdict, int] | None = None

    def __call__(self, batch: Batch, fraction: float) -> None:
        """A step on this process' share of the global batch, at progress `fraction` in [0, 1].

        The warm-up counts the step's own pictures, so that the very first one moves the weights.
        """
        context, config, progress = self.context, self.context.config, self.context.progress
        factor = optim.factor(config.optim, progress.pictures + config.batch_size, fraction)
        factor *= config.recovery.lr_factor**progress.rollbacks
        optim.set_factor(context.state.optimizers, factor)
        context.log.lr = config.optim.lr * factor
        self.model.train()
        for figures in self._fitted(batch):
            context.log.collect(figures)
        self.settle()
        norm = self._update()
        context.log.collect({"grad_norm": norm})
        progress.pictures += config.batch_size
        self._pending = Verdict(norm.isfinite()), progress.pictures
        if not asynchronous(context.device):
            self.settle()

    def settle(self) -> None:
        """Average in the weights of the last step, or count it as skipped."""
        if self._pending is None:
            return
        (made, pictures), self._pending = self._pending, None
        context, progress = self.context, self.context.progress
        if made:
            with optim.averaged(context.state.optimizers):
                context.state.ema.update(context.config.batch_size, pictures)
            progress.strikes = max(0, progress.strikes - 1)
        else:
            progress.skipped += 1
            progress.strikes += 1
            progress.offender = pictures - context.config.batch_size

    def _fitted(self, batch: Batch) -> list[dict[str, Tensor]]:
        """Gradients and figures of the share, in more parts whenever memory runs out."""
        while self._rehearsals:
            failed = self._tried(batch, self.context.state.network, alone=True) is None
            self._zero()
            if self.context.group.largest(torch.tensor([float(failed)])).item():
                self._part()
            else:
                self._rehearsals -= 1
        while (figures := self._tried(batch, self.model, alone=self._alone)) is None:
            self._zero()
            self._part()
        return figures

    def _tried(
        self, batch: Batch, model: nn.Module, *, alone: bool
    ) -> list[dict[str, Tensor]] | None:
        """None if memory does not suffice; what was computed is let go with the error.

        Unless it is `alone` other processes wait for these gradients: then it is a UserError.
        """
        try:
            return self._gradients(batch, model)
        except torch.OutOfMemoryError as error:
            if not alone:
                raise UserError(self._too_late()) from error
            return None

    def _gradients(self, batch: Batch, model: nn.Module) -> list[dict[str, Tensor]]:
        """Add up the gradients of all parts; those of all processes with the last one.

        A loss that is not finite makes all gradients so, on all processes.
        """
        context, figures = self.context, []
        for i, part in enumerate(parted(batch, self.parts)):
            self._seed(i)
            last = i == self.parts - 1
            with nullcontext() if last else context.parallel.accumulating(model):
                with autocast(context.device, context.dtype):
                    moved = move(part, context.device, context.dtype)
                    losses = context.stage.losses(model, moved)
                one = losses["loss"].detach() * 0 + 1
                context.state.scaler.scale(losses["loss"]).backward(one / self.parts)
            figures.append({name: value.detach() for name, value in losses.items()})
        return figures

    def _update(self) -> Tensor:
        """Step the weights if that is possible; the norm of the gradient before it is clipped."""
        state = self.context.state
        for optimizer in state.optimizers:
            state.scaler.unscale_(optimizer)
        clip = self.context.config.optim.clip
        norm = gathered(nn.utils.clip_grad_norm_(self.parameters, clip, foreach=True))
        for optimizer in state.optimizers:
            step_if(norm.isfinite(), optimizer)
        state.scaler.update()
        self._zero()
        return norm

    def _zero(self) -> None:
        for optimizer in self.context.state.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def _part(self) -> None:
        """Compute the share in more parts from now on."""
        if asynchronous(self.context.device):
            torch.accelerator.empty_cache()
        parts = more(self.parts, self.share)
        if parts is None:
            raise UserError(
                "memory does not suffice for one picture at a time: take a smaller network or "
                "resolution, or dtype=bf16"
            )
        self.parts = parts
        self.context.log.say(
            f"out of memory: each process computes its {self.share} pictures of a step in {parts} "
            f"parts from now on; batch_size stays {self.context.config.batch_size}"
        )

    def _too_late(self) -> str:
        parts = more(self.parts, self.share) or self.share
        return (
            f"out of memory after {self.context.progress.pictures:,} pictures; "
            f"the same command with accumulation={parts} goes on from the last checkpoint"
        )

    def _seed(self, part: int) -> None:
        """Dropout's random numbers follow from the pictures seen and the part's first position."""
        context = self.context
        first = context.accelerator.process_index * self.share + part * (self.share // self.parts)
        key = (context.progress.pictures, first)
        torch.manual_seed(generator(context.config.seed, "dropout", *key).initial_seed())
