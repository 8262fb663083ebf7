"""A stage without its data and its weights: the network, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from dmtool import runs
from dmtool.cond import Cond
from dmtool.config.adversarial import PatchGame
from dmtool.config.optim import Optim
from dmtool.config.stages import LatentShape, TrainUnet, TrainUpsampler, TrainVae
from dmtool.config.training import Train
from dmtool.diffusion import network
from dmtool.errors import UserError
from dmtool.nn.discriminators import PatchCritic
from dmtool.text import sizes
from dmtool.train.stages import upsampler, vae
from dmtool.train.stages.objective import outputs

Inputs = tuple[Any, ...]
"""The arguments of a call of the network: tensors, and a Cond."""


@dataclass(frozen=True)
class Rival:
    """A second player that judges what the first one makes of each batch, and in its own turn real
    pictures beside it."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]
    optim: Optim


@dataclass(frozen=True)
class Outline:
    """`build` makes the network with fresh weights on the current device, `inputs(n)` the
    arguments for n pictures; `frozen` counts the text encoder's weights that are not trained, which
    take `frozen_bytes`."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]
    frozen: int
    frozen_bytes: int
    rival: Rival | None = None


class Text(network.TextShape, Protocol):
    """A text encoder, or its sizes."""

    @property
    def max_length(self) -> int: ...

    @property
    def trainable(self) -> bool: ...

    @property
    def frozen(self) -> int: ...

    @property
    def frozen_bytes(self) -> int: ...


def of_config(config: Train, text: Text | None = None, length: int | None = None) -> Outline:
    """The outline of a training of which nothing but the config need be there.

    Captions have `length` tokens, or as many as the text encoder takes. Raises UserError if the
    shape of the autoencoder or of the text encoder is not known.
    """
    if text is None and isinstance(config, TrainUnet | TrainUpsampler):
        text = sizes.sizes(config.text)
    longest = text.max_length if text else 0
    return OUTLINES[type(config)](config, text, longest if length is None else length)


def _vae(config: TrainVae, _: Text | None, __: int) -> Outline:
    size, latent = config.resolution, config.resolution // config.vae.factor

    def inputs(n: int) -> Inputs:
        noise = torch.randn(n, config.vae.channels, latent, latent)
        return torch.rand(n, 3, size, size), noise

    rival = None
    if isinstance(config.adversarial, PatchGame):
        game = config.adversarial
        build = partial(PatchCritic, game.widths, game.groups)
        rival = Rival(build, lambda n: (torch.rand(n, 3, size, size),), game.optim)
    return Outline(lambda: vae.network(config), inputs, 0, 0, rival)


def _unet(config: TrainUnet, text: Text, length: int) -> Outline:
    space, resolution = _space(config)
    arguments = network.describe(config.unet, space.channels, text, outputs=outputs(config.noise))
    size = resolution // space.factor

    def inputs(n: int) -> Inputs:
        x_t = torch.randn(n, space.channels, size, size)
        return x_t, torch.rand(n), _cond(text, n, length)

    frozen = text.frozen, text.frozen_bytes
    return Outline(lambda: network.build(arguments, text), inputs, *frozen)


def _upsampler(config: TrainUpsampler, text: Text, length: int) -> Outline:
    arguments = upsampler.arguments(config, text)
    size = config.crop_size or config.resolution

    def inputs(n: int) -> Inputs:
        x_t, level = torch.randn(n, 3, size, size), torch.rand(n)
        cond = _cond(text, n, length).with_extras(low_res=x_t, low_res_level=level)
        return x_t, level, cond

    frozen = text.frozen, text.frozen_bytes
    return Outline(lambda: network.build(arguments, text), inputs, *frozen)


OUTLINES: dict[type[Train], Callable[..., Outline]] = {
    TrainVae: _vae,
    TrainUnet: _unet,
    TrainUpsampler: _upsampler,
}
"""Of a config, its text encoder, and the length of captions in tokens."""


def _cond(text: Text, n: int, length: int) -> Cond:
    if not text.dim:
        return Cond()
    mask = torch.ones(n, length, dtype=torch.bool)
    if text.trainable:
        return Cond(torch.zeros(n, length, dtype=torch.int64), mask)
    return Cond(torch.randn(n, length, text.dim), mask, torch.randn(n, text.pooled_dim))


def _space(config: TrainUnet) -> tuple[LatentShape, int]:
    """What the noise predictor works on, and the pictures' size, as the autoencoder's card says.

    Where its run is not there yet, as `latent` says.
    """
    if config.codec == "pixels":
        assert config.resolution is not None
        return LatentShape(channels=3, factor=1), config.resolution
    run = config.from_.vae or config.run
    there = (runs.run_dir(run, config.root) / TrainVae.stage / "artifacts" / "default").is_dir()
    if there or config.latent is None:
        card = runs.find(run, TrainVae.stage, config.root).card
        shape = LatentShape(channels=card["latent"]["channels"], factor=card["factor"])
        return shape, config.resolution or card["resolution"]
    if config.resolution is None:
        raise UserError(f"the run {run!r} has no vae stage yet: say resolution=, in pixels")
    return config.latent, config.resolution
