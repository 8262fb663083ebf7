"""Captions -> conditions: `load` an encoder for a new run, or the one `from_card` of a trained run.

Four kinds: `minilm` (packaged, frozen), `hf` (any CLIP text model, T5 encoder or BERT-like encoder,
frozen), `scratch` (learned with the noise predictor) and `none`. The null caption, for caption
dropout and guidance, is the empty string, encoded like any other. `cached_states` encodes a data
set's captions once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dmtool.config.parts import HFText, MiniLMText, NoText, ScratchText, Text
from dmtool.config.validation import check
from dmtool.errors import UserError
from dmtool.text import frozen, scratch
from dmtool.text.cache import States, cached_states
from dmtool.text.encoder import NoTextEncoder, TextEncoder
from dmtool.text.known import away

__all__ = ["States", "TextEncoder", "away", "cached_states", "from_card", "load"]

SCHEMAS: dict[str, type] = {
    "minilm": MiniLMText,
    "hf": HFText,
    "scratch": ScratchText,
    "none": NoText,
}

Device = torch.device | str


class EncoderKind(NamedTuple):
    """`new` makes the encoder of a new run, of its config, the device and the run's captions;
    `again` that of a trained one, of its config, the device and the artifact's folder."""

    new: Callable[[Any, Device, Iterable[str] | None], TextEncoder]
    again: Callable[[Any, Device, Path | None], TextEncoder]


def _minilm(config: MiniLMText, device: Device, _: object) -> TextEncoder:
    return frozen.minilm(config, device)


def _none(*_: object) -> TextEncoder:
    return NoTextEncoder()


def _handed_on(config: HFText, device: Device, folder: Path | None) -> TextEncoder:
    """From the artifact's folder, if the encoder was put there, else from where it was."""
    inner = folder / "text_encoder" if folder else None
    return frozen.hf(config, device, inner if inner and inner.is_dir() else None)


KINDS: dict[type, EncoderKind] = {
    MiniLMText: EncoderKind(_minilm, _minilm),
    HFText: EncoderKind(lambda config, device, _: frozen.hf(config, device), _handed_on),
    ScratchText: EncoderKind(
        lambda config, device, captions: scratch.new(config, captions, device),
        lambda config, device, folder: scratch.read(config, folder, device),
    ),
    NoText: EncoderKind(_none, _none),
}


def load(
    config: Text, device: Device = "cpu", captions: Iterable[str] | None = None
) -> TextEncoder:
    """The text encoder of a new run; `captions` train the tokenizer of `scratch` with bpe.

    Raises UserError if the encoder is not there, not supported, or does not fit the config.
    """
    return KINDS[type(config)].new(config, device, captions)


def from_card(
    card: dict[str, Any], device: Device = "cpu", folder: Path | None = None
) -> TextEncoder:
    """The text encoder of a trained run; `folder` is the artifact's, where `save` wrote.

    An `hf` encoder is taken from `folder/text_encoder` if it is there (so a run can be handed on
    with its encoder), else from where it was. Raises UserError if another one is found.
    """
    encoder = _find(card, device, folder)
    found = encoder.card()
    for key, what in (("sha256", "text encoder"), ("tokenizer", "tokenizer of")):
        if card[key] not in (None, found[key]):
            raise UserError(
                f"this run needs the {what} {card['name']!r} of sha256 {card[key]}, and the one "
                f"that is there has {found[key]}"
            )
    sizes = encoder.dim, encoder.pooled_dim
    if sizes != (card["dim"], card["pooled_dim"]):
        raise UserError(
            f"this run's text states have {card['dim']} and {card['pooled_dim']} channels, those "
            f"of {card['name']!r} as its card has it {sizes[0]} and {sizes[1]}"
        )
    return encoder


def _find(card: dict[str, Any], device: Device, folder: Path | None) -> TextEncoder:
    if card["kind"] not in SCHEMAS:
        raise UserError(f"unknown kind of text encoder {card['kind']!r}: made by a newer dmtool?")
    config: Any = check(card["config"], SCHEMAS[card["kind"]])
    return KINDS[type(config)].again(config, device, folder)
