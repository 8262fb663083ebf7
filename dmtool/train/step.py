"""One step: a share of the batch -> each player's losses, gradients, weights -> averages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from dmtool.device import asynchronous, autocast
from dmtool.errors import UserError
from dmtool.rng import generator
from dmtool.train import optim, turns
from dmtool.train.batch import Batch
from dmtool.train.context import Context
from dmtool.train.optim.gate import Verdict, step_if
from dmtool.train.shard import gathered
from dmtool.train.turns import Gathered, Turn

REHEARSED = 2
"""A player's turns that several processes try without the others first: from the second on, its
optimizer's state is in memory as well."""


class Step:
    """Steps the weights of a training: those of one player after another.

    Nothing waits for the device. A step whose gradient is not finite is not made; that is known on
    the CPU a step later, so the averages follow a step later too: `settle` brings them up to date.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.turns = turns.of(context)
        self.parts, self.share = context.config.accumulation, context.share
        self._alone = context.accelerator.num_processes == 1
        self._rehearsals = {
            turn.name: 0 if turn.model is turn.network else REHEARSED for turn in self.turns
        }
        self._pending: list[tuple[Turn, Verdict | None]] = []

    def __call__(self, batch: Batch, fraction: float) -> None:
        """A step on this process' share of the global batch, at progress `fraction` in [0, 1]."""
        context, size = self.context, self.context.config.batch_size
        seen, made = context.progress.pictures, []
        due = [turn for turn in self.turns if turn.player.learns(seen, size)]
        self._rehearse(batch, due)
        for turn in self.turns:
            verdict = self._take(turn, batch, fraction) if turn in due else None
            made.append((turn, verdict))
        if due:
            context.state.scaler.update()
        context.progress.pictures += size
        self._pending = made
        if not asynchronous(context.device):
            self.settle()

    def settle(self) -> None:
        """Average in the weights of the last step, or count it as skipped."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        progress, size = self.context.progress, self.context.config.batch_size
        failed = [turn for turn, verdict in pending if verdict is not None and not verdict]
        for turn, _ in pending:
            if turn not in failed and turn.learner.ema:
                with optim.averaged(turn.learner.optimizers):
                    turn.learner.ema.update(size, progress.pictures)
        if failed:
            progress.skipped += 1
            progress.strikes += 1
            progress.offender = progress.pictures - size
        else:
            progress.strikes = max(0, progress.strikes - 1)

    def _take(self, turn: Turn, batch: Batch, fraction: float) -> Verdict:
        """A player's turn: whether its weights were stepped."""
        self._set_rate(turn, fraction)
        turn.model.train()
        found = self._fitted(turn, batch)
        for figures in found.figures:
            self.context.log.collect(turn.logged(figures))
        self.settle()
        norm = self._update(turn)
        self.context.log.collect(turn.logged({"grad_norm": norm}))
        if found.sums:
            turns.settle(self.context, turn, self.turns, found.sums, norm.isfinite())
        return Verdict(norm.isfinite())

    def _set_rate(self, turn: Turn, fraction: float) -> None:
        """The warm-up counts the step's own pictures, so that the very first one moves weights."""
        context, config, progress = self.context, turn.player.optim, self.context.progress
        after = progress.pictures - turn.player.start + context.config.batch_size
        factor = optim.factor(config, after, fraction)
        factor *= context.config.recovery.lr_factor**progress.rollbacks
        optim.set_factor(turn.learner.optimizers, factor)
        context.log.rates[f"{turn.prefix}lr"] = config.lr * factor

    def _rehearse(self, batch: Batch, due: Sequence[Turn]) -> None:
        """Try the step in this process alone, in more parts until memory suffices in all: others
        wait for gradients, and an error within the real one would be too late."""
        while any(self._rehearsals[turn.name] for turn in due):
            failed = any(self._tried(turn, batch, turn.network, alone=True) is None for turn in due)
            for turn in due:
                turn.zero()
            if not self.context.group.largest(torch.tensor([float(failed)])).item():
                for turn in due:
                    self._rehearsals[turn.name] = max(0, self._rehearsals[turn.name] - 1)
                return
            self._part()

    def _fitted(self, turn: Turn, batch: Batch) -> Gathered:
        """Gradients and figures of the share, in more parts whenever memory runs out."""
        while (found := self._tried(turn, batch, turn.model, alone=self._alone)) is None:
            turn.zero()
            self._part()
        return found

    def _tried(self, turn: Turn, batch: Batch, model: nn.Module, *, alone: bool) -> Gathered | None:
        """None if memory does not suffice; what was computed is let go with the error.

        Unless it is `alone` other processes wait for these gradients: then it is a UserError.
        """
        try:
            with turns.frozen(each for each in self.turns if each is not turn):
                return self._gradients(turn, batch, model)
        except torch.OutOfMemoryError as error:
            if not alone:
                raise UserError(self._too_late()) from error
            return None

    def _gradients(self, turn: Turn, batch: Batch, model: nn.Module) -> Gathered:
        """Add up the gradients of all parts; those of all processes with the last one.

        A loss that is not finite makes all gradients so, on all processes.
        """
        context, found = self.context, Gathered()
        models = {each.name: each.network for each in self.turns} | {turn.name: model}
        for i, part in enumerate(batch.parts(self.parts)):
            self._seed(turn, i)
            last = i == self.parts - 1
            with nullcontext() if last else turn.parallel.accumulating(model):
                with autocast(context.device, context.dtype):
                    moved = part.to(context.device, context.dtype)
                    losses = context.stage.losses(turn.name, models, moved)
                one = losses.loss.detach() * 0 + 1
                context.state.scaler.scale(losses.loss).backward(one / self.parts)
            found.add(losses)
        return found

    def _update(self, turn: Turn) -> Tensor:
        """Step the weights if that is possible; the norm of the gradient before it is clipped."""
        scaler, clip = self.context.state.scaler, turn.player.optim.clip
        for optimizer in turn.learner.optimizers:
            scaler.unscale_(optimizer)
        norm = gathered(nn.utils.clip_grad_norm_(turn.parameters, clip, foreach=True))
        for optimizer in turn.learner.optimizers:
            step_if(norm.isfinite(), optimizer)
        turn.zero()
        return norm

    def _part(self) -> None:
        """Compute the share in more parts from now on."""
        if asynchronous(self.context.device):
            torch.accelerator.empty_cache()
        parts = more(self.parts, self.share, self.context.stage.group)
        if parts is None:
            least = self.context.stage.group
            raise UserError(
                f"memory does not suffice for {'one picture' if least == 1 else least} at a time: "
                "take a smaller network or resolution, or dtype=bf16"
            )
        self.parts = parts
        self.context.log.say(
            f"out of memory: each process computes its {self.share} pictures of a step in {parts} "
            f"parts from now on; batch_size stays {self.context.config.batch_size}"
        )

    def _too_late(self) -> str:
        parts = more(self.parts, self.share, self.context.stage.group) or self.parts
        return (
            f"out of memory after {self.context.progress.pictures:,} pictures; "
            f"the same command with accumulation={parts} goes on from the last checkpoint"
        )

    def _seed(self, turn: Turn, part: int) -> None:
        """Dropout's random numbers follow from the pictures seen and the part's first position."""
        context = self.context
        first = context.accelerator.process_index * self.share + part * (self.share // self.parts)
        key = (f"{turn.prefix}dropout", context.progress.pictures, first)
        torch.manual_seed(generator(context.config.seed, *key).initial_seed())


def more(parts: int, size: int, group: int = 1) -> int | None:
    """At least twice as many equal parts of `size` examples, of whole groups each; None if there
    are none."""
    whole = (n for n in range(2 * parts, size + 1) if size % n == 0 and size // n % group == 0)
    return next(whole, None)
