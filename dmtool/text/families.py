"""The kinds of pretrained text networks that are supported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dmtool.errors import UserError


@dataclass(frozen=True)
class Family:
    """How a kind of text network is loaded.

    `clip`: attention is causal, and pooled is the output at the end token. `offset`: positions
    begin after that of the padding token. `fp16`: its activations stay in float16's range.
    """

    model: str
    tokenizer: str = "AutoTokenizer"
    clip: bool = False
    offset: bool = False
    fp16: bool = True


_CLIP = Family("CLIPTextModel", "CLIPTokenizerFast", clip=True)
_BERT = Family("AutoModel")
_ROBERTA = Family("AutoModel", offset=True)

FAMILIES = {
    "clip": _CLIP,
    "clip_text_model": _CLIP,
    "t5": Family("T5EncoderModel", fp16=False),
    "mt5": Family("MT5EncoderModel", fp16=False),
    "umt5": Family("UMT5EncoderModel", fp16=False),
    "albert": _BERT,
    "bert": _BERT,
    "distilbert": _BERT,
    "electra": _BERT,
    "camembert": _ROBERTA,
    "mpnet": _ROBERTA,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
"""By the `model_type` in a folder's config.json."""


def family(content: dict[str, Any], place: object) -> Family:
    """That of a network by the content of its config.json; UserError if it is not supported."""
    return FAMILIES[supported(content, place)]


def supported(content: dict[str, Any], place: object) -> str:
    """The `model_type` of a config.json; UserError if it is not supported."""
    kind = content.get("model_type")
    if kind not in FAMILIES:
        raise UserError(
            f"{place}: text encoders of type {kind!r} are not supported; these are: "
            + ", ".join(sorted(FAMILIES))
        )
    return str(kind)
