"""What a text encoder is without its weights: enough to plan a training with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dmtool.config.parts import HFText, MiniLMText, NoText, ScratchText, Text
from dmtool.device import DTYPES
from dmtool.errors import UserError
from dmtool.nn.text import TextTransformer
from dmtool.text import pretrained, scratch
from dmtool.text.frozen import chosen_layers

KNOWN: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14": {
        "model_type": "clip_text_model",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
    },
}
"""The config.json of encoders that need not be there: Stable Diffusion 1.x's."""


@dataclass(frozen=True)
class TextSizes:
    """See `network.TextShape`; `frozen` counts weights that are used and not trained, and
    `frozen_bytes` what they take."""

    dim: int
    pooled_dim: int
    max_length: int
    trainable: bool
    frozen: int
    frozen_bytes: int
    network: Callable[[], TextTransformer | None]


def sizes(config: Text) -> TextSizes:
    """The sizes of a config's encoder, from its config.json alone.

    Raises UserError for an encoder that is neither there nor known.
    """
    return KINDS[type(config)](config)


def _place(name: str) -> Path | dict[str, Any]:
    try:
        return pretrained.find(name)
    except UserError:
        if name in KNOWN:
            return KNOWN[name]
        raise


def _frozen(config: MiniLMText | HFText, network: Any) -> TextSizes:
    layers = chosen_layers(config.layers, network.num_hidden_layers)
    with torch.device("meta"):
        model = pretrained.unloaded(network)
    width, weights = network.hidden_size, sum(p.numel() for p in model.parameters())
    frozen = weights, weights * DTYPES[config.dtype].itemsize
    return TextSizes(len(layers) * width, width, config.max_length, False, *frozen, lambda: None)


def _scratch(config: ScratchText) -> TextSizes:
    """Of bpe the vocabulary that is asked for, which captions may not fill."""
    tokens = scratch.Bytes.size if config.tokenizer == "bytes" else config.vocabulary
    c, width = config, config.width
    network = partial(TextTransformer, tokens, width, c.depth, c.heads, c.max_length)
    return TextSizes(width, width, c.max_length, True, 0, 0, network)


KINDS: dict[type, Callable[[Any], TextSizes]] = {
    MiniLMText: lambda c: _frozen(c, pretrained.configuration(pretrained.minilm_folder())),
    HFText: lambda c: _frozen(c, pretrained.configuration(_place(c.name))),
    ScratchText: _scratch,
    NoText: lambda _: TextSizes(0, 0, 0, False, 0, 0, lambda: None),
}
