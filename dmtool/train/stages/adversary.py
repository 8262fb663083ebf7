"""The critic of an autoencoder: a second player, and what it makes of the first one's loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from dmtool.config.adversarial import PatchGame
from dmtool.losses.adversarial import GAMES, lecam
from dmtool.nn.discriminators import PatchCritic
from dmtool.train.parallel import unwrapped
from dmtool.train.player import Player
from dmtool.train.stage import Losses, Networks

NAME = "critic"
KEPT = 0.99
"""Of the moving means of logits, a step."""
MOST = 1e4
"""Of the balance of gradients."""
MARK = f"{NAME}."
"""Begins the names of sums that are for the critic."""


class Adversary:
    """See `losses.adversarial`. The player learns before it is heard."""

    def __init__(self, config: PatchGame) -> None:
        self.config, self.game = config, GAMES[config.loss]
        self.player = Player(
            PatchCritic(config.widths, config.groups), config.optim, None, start=config.learns_at
        )

    def counts(self, seen: int) -> bool:
        """Whether the autoencoder hears the critic in a step from so many pictures on."""
        return seen >= self.config.counts_at

    def deceit(
        self, models: Networks, x: Tensor, output: Tensor, error: Tensor, last: Tensor
    ) -> Losses:
        """What the autoencoder minimises beside its `error`; `last` are the decoder's last weights.

        The balance is that of the step before: of the gradients of whole batches.
        """
        critic = models[NAME]
        real = critic(x) if self.game.compares else x.new_zeros(len(x))
        loss = self.game.deceit(real, critic(output)).mean()
        weight: float | Tensor = self.config.weight
        sums: dict[str, Tensor] = {}
        if self.config.adaptive:
            weight = weight * cast(PatchCritic, unwrapped(critic)).balance
            for name, each in (("by_error", error), ("by_deceit", loss)):
                (gradient,) = torch.autograd.grad(each, last, retain_graph=True)
                sums[MARK + name] = gradient * len(x)
            sums[f"{MARK}count"] = torch.ones_like(loss) * len(x)
        return Losses(weight * loss, {"deceit": loss}, sums)

    def losses(self, models: Networks, x: Tensor, output: Tensor) -> Losses:
        """What the critic minimises, of real pictures and of made ones."""
        critic = models[NAME]
        real, fake = critic(torch.cat([x.to(output), output])).chunk(2)
        means = cast(PatchCritic, unwrapped(critic))
        loss = self.game.critic(real, fake)
        if self.config.lecam:
            loss = loss + self.config.lecam * lecam(real, fake, means.mean_real, means.mean_fake)
        sums = {"real": real.sum(), "fake": fake.sum(), "count": torch.ones_like(real).sum()}
        return Losses(loss.mean(), {"real": real, "fake": fake}, sums)

    def balance(self, networks: Networks, sums: Mapping[str, Tensor]) -> None:
        """After the autoencoder's turn."""
        error, deceit = (
            (sums[f"{MARK}by_{name}"] / sums[f"{MARK}count"]).norm() for name in ("error", "deceit")
        )
        ratio = error / (deceit + 1e-4)
        cast(PatchCritic, networks[NAME]).balance.copy_(ratio.clamp(max=MOST))

    def settle(self, networks: Networks, sums: Mapping[str, Tensor]) -> None:
        """After the critic's."""
        critic = cast(PatchCritic, networks[NAME])
        for mean, total in ((critic.mean_real, sums["real"]), (critic.mean_fake, sums["fake"])):
            mean.lerp_((total / sums["count"]).to(mean), 1 - KEPT)
