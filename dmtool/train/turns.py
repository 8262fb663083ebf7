"""The turns of a step: one player learns, the others' weights are frozen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dmtool.train.context import Context
from dmtool.train.parallel import Parallel
from dmtool.train.player import Player
from dmtool.train.stage import Losses
from dmtool.train.state import Learner


@dataclass(frozen=True, eq=False)
class Turn:
    """A player's part of each step: who learns, by what, over which processes."""

    name: str
    player: Player
    learner: Learner
    parallel: Parallel
    parameters: Sequence[Tensor]
    prefix: str
    """Of what is logged of it; the first player's names are as they are."""

    @property
    def network(self) -> nn.Module:
        """Has the weights that are stepped."""
        return self.learner.network

    @property
    def model(self) -> nn.Module:
        """The network as losses call it: it brings the gradients together."""
        return self.parallel.model

    def zero(self) -> None:
        """Let go of the gradients."""
        for optimizer in self.learner.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def logged(self, figures: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The figures by the names that they are logged under."""
        return {f"{self.prefix}{name}": value for name, value in figures.items()}


@dataclass
class Gathered:
    """What the micro-batches of a turn gave: the figures of each, and the sums over all."""

    figures: list[dict[str, Tensor]] = field(default_factory=list)
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, losses: Losses) -> None:
        figures = {"loss": losses.loss, **losses.figures}
        self.figures.append({name: value.detach() for name, value in figures.items()})
        for name, value in losses.sums.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()


def of(context: Context) -> list[Turn]:
    """The turns of a step, in their order."""
    made = []
    for i, (name, player) in enumerate(context.stage.players.items()):
        learner = context.state.learners[name]
        parameters = [p for p in learner.network.parameters() if p.requires_grad]
        prefix = f"{name}_" if i else ""
        made.append(Turn(name, player, learner, context.parallel[name], parameters, prefix))
    return made


@contextmanager
def frozen(others: Iterable[Turn]) -> Iterator[None]:
    """Within it gradients pass through the networks of `others`, and leave none there."""
    still = list(others)
    for turn in still:
        _learn(turn.parameters, False)
    try:
        yield
    finally:
        for turn in still:
            turn.parallel.rest()
            _learn(turn.parameters, True)


def _learn(parameters: Iterable[Tensor], wanted: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(wanted)


@torch.no_grad()
def settle(
    context: Context, turn: Turn, turns: Sequence[Turn], sums: dict[str, Tensor], finite: Tensor
) -> None:
    """Give the stage a turn's sums over all processes; nothing changes if they are not `finite`, or
    the turn's gradient is not."""
    totals = {name: context.accelerator.reduce(value) for name, value in sums.items()}
    sound = torch.stack([finite, *(value.isfinite().all() for value in totals.values())]).all()
    buffers = [buffer for each in turns for buffer in each.network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    context.stage.settle(turn.name, {each.name: each.network for each in turns}, totals)
    for buffer, old in zip(buffers, before, strict=True):
        buffer.copy_(torch.where(sound, buffer, old))
