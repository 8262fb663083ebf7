"""The noise predictor as denoisers call it: a backbone, and perhaps its own text encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dmtool.cond import Cond
from dmtool.config.parts import UNet as UNetConfig
from dmtool.nn.backbone import Backbone
from dmtool.nn.perturbed import perturbed as nn_perturbed
from dmtool.nn.read import read, reading
from dmtool.nn.text import TextTransformer
from dmtool.nn.uncertainty import Uncertainty
from dmtool.nn.unet import UNet
from dmtool.text import TextEncoder
from dmtool.text.blend import Prompt, ends, mixed

KINDS: dict[str, Callable[..., Backbone]] = {"unet": UNet}


class TextShape(Protocol):
    """What a network must know of its text encoder: channels of the states and of the pooled
    vector (0: none), and the part of it that is learned with the network."""

    @property
    def dim(self) -> int: ...

    @property
    def pooled_dim(self) -> int: ...

    def network(self) -> TextTransformer | None: ...


class NoisePredictor(nn.Module):
    """(x_t, c_noise, Cond) -> F. `text` is None where the text encoder is frozen and apart;
    `uncertainty` is trained with the network for its loss alone, and not part of an artifact."""

    def __init__(
        self,
        unet: Backbone,
        text: TextTransformer | None,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        super().__init__()
        self.unet, self.text, self.uncertainty = unet, text, uncertainty

    def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
        cond = self.read(cond)
        return self.unet(x, level, cond.states, cond.mask, cond.pooled, cond.extras)

    def read(self, cond: Cond) -> Cond:
        """Token ids become states, if the text encoder is learned; all else stays as it is."""
        if self.text is None or cond.states is None or cond.states.is_floating_point():
            return cond
        states, pooled = self.text(cond.states, cond.mask)
        return replace(cond, states=states, pooled=pooled)


class Sampling(NoisePredictor):
    """The same network for many calls with one condition, which is prepared beforehand: the text's
    keys and values are computed once a picture, not once a step."""

    def __init__(self, predictor: NoisePredictor) -> None:
        super().__init__(reading(predictor.unet), predictor.text)
        self.whole = predictor.unet

    def prepare(self, cond: Cond) -> Cond:
        """The condition as this network takes it, of one whose states have been computed."""
        return cond if cond.states is None else replace(cond, states=read(self.whole, cond.states))


def describe(
    config: UNetConfig,
    channels: int,
    text: TextShape,
    images: dict[str, int] | None = None,
    levels: list[str] | None = None,
    residual: str | None = None,
    outputs: int = 1,
) -> dict[str, Any]:
    """The kind of the network and all its arguments: the config's, and what follows from what it is
    chained to."""
    chosen = asdict(config)
    pooled = chosen.pop("pooled") and text.pooled_dim
    return chosen | {
        "channels": channels,
        "text_dim": text.dim or None,
        "pooled_dim": pooled or None,
        "images": images or {},
        "levels": levels or [],
        "residual": residual,
        "outputs": outputs,
    }


def build(
    arguments: dict[str, Any], text: TextShape, uncertainty: Uncertainty | None = None
) -> NoisePredictor:
    """The noise predictor of a backbone that is described so, with fresh weights."""
    return NoisePredictor(backbone(arguments), text.network(), uncertainty)


def backbone(arguments: Mapping[str, Any]) -> Backbone:
    """The network of a kind and its arguments, with fresh weights."""
    return KINDS[arguments["kind"]](**{k: v for k, v in arguments.items() if k != "kind"})


def for_use(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights without those that serve its training alone."""
    return {name: x for name, x in weights.items() if not name.startswith("uncertainty.")}


def perturbed(predictor: NoisePredictor, levels: Sequence[int]) -> NoisePredictor:
    """The network with the same weights that has lost self-attention, see `nn.perturbed`."""
    return NoisePredictor(nn_perturbed(predictor.unet, levels), predictor.text).eval()


def condition(
    predictor: object, text: TextEncoder, prompts: Sequence[Prompt], device: torch.device
) -> Cond:
    """The prompts' condition on `device`: all that is the same in each call of the network.

    It is made once for each prompt, however often that comes.
    """
    places = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
    distinct = [*places]
    first, second, shares = ends(distinct)
    cond = encoded(predictor, text, first, device)
    if any(shares):
        cond = mixed(cond, encoded(predictor, text, second, device), shares)
    if isinstance(predictor, Sampling):
        cond = predictor.prepare(cond)
    once = len(distinct) == len(prompts)
    return cond if once else cond.rows([places[prompt] for prompt in prompts])


def encoded(
    predictor: object, text: TextEncoder, prompts: Sequence[str], device: torch.device
) -> Cond:
    """The prompts on `device`, as states also where the text encoder is learned."""
    cond = text.encode(prompts).to(device)
    return predictor.read(cond) if isinstance(predictor, NoisePredictor) else cond
