"""What every text encoder does: captions -> tokens -> states, and says who it is."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dmtool.cond import Cond
from dmtool.errors import UserError
from dmtool.nn.text import TextTransformer
from dmtool.say import counted

log = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """One caption without padding: its states [L, D] (float32) or token ids [L], and its pooled
    vector [P], if it has one."""

    values: Tensor
    pooled: Tensor | None


def batched(captions: Sequence[Encoded]) -> Cond:
    """B captions as one condition: states [B, L, D] (or ids [B, L]) that are zero in the padding,
    mask [B, L], pooled [B, P]. What is cached and what is encoded afresh both become batches
    here."""
    values, pooled = zip(*captions, strict=True)
    states, lengths = pad_sequence(list(values), True), torch.tensor([*map(len, values)])
    mask = (torch.arange(states.shape[1]) < lengths[:, None]).to(states.device)
    vectors = [each for each in pooled if each is not None]
    return Cond(states, mask, torch.stack(vectors) if vectors else None)


class TextEncoder(ABC):
    """Captions -> `Cond`. The null caption of guidance and caption dropout is the empty string "".

    `dim` is the number of channels of the states (of all layers together), `pooled_dim` that of the
    pooled vector; `trainable` says that `encode` gives token ids, for `network()` to be trained on.
    """

    dim: int
    pooled_dim: int
    max_length: int
    trainable: bool = False

    @abstractmethod
    def clipped(self, captions: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """The token ids of each caption, at most `max_length`, and which captions lost some."""

    @abstractmethod
    def each(self, tokens: Sequence[list[int]]) -> list[Encoded]:
        """Captions as `clipped` gives them, encoded on the encoder's device. What becomes of one
        depends on its tokens alone: not on the others, and not on a caller's autocast."""

    @abstractmethod
    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Of each token that `clipped` gives, the characters [start, stop) of its caption that it
        stands for; none (0, 0) if it begins, ends or fills up."""

    @abstractmethod
    def card(self) -> dict[str, Any]:
        """All that `from_card` needs, as JSON; see `card`."""

    def encode(self, captions: Sequence[str]) -> Cond:
        """B captions -> states [B, L, dim], mask [B, L], pooled [B, pooled_dim], without gradient.

        States are float32 and zero where the mask is False; a trainable encoder gives ids [B, L]
        and no pooled vector. Captions that are too long are cut, and a warning says so. Raises
        UserError for text that is not valid Unicode.
        """
        checked(captions)
        tokens, lost = self.clipped(captions)
        self.report(len(lost), captions[lost[0]] if lost else "")
        return batched(self.each(tokens))

    @cached_property
    def _reported(self) -> set[tuple[int, str]]:
        """What was said of captions that are too long."""
        return set()

    def report(self, count: int, first: str) -> None:
        """Log one line if `count` captions of a set, `first` among them, were cut; the same line
        once."""
        if count and (count, first) not in self._reported:
            self._reported.add((count, first))
            captions = counted(count, "caption is", "captions are")
            log.warning("%s longer than %d tokens and cut there; first: %s",
                        captions, self.max_length, _short(first))  # fmt: skip

    def truncated(self, captions: Sequence[str]) -> int:
        """How many captions are longer than `max_length` tokens."""
        return len(self.clipped(captions)[1])

    def network(self) -> TextTransformer | None:
        """A new network that turns a trainable encoder's ids into states; None if it is frozen."""
        return None

    @property
    def frozen(self) -> int:
        """How many weights it has that are not trained."""
        return 0

    @property
    def frozen_bytes(self) -> int:
        """What they take in memory while the encoder is there."""
        return 0

    def save(self, folder: Path) -> None:
        """Write to `folder` what the card cannot hold and `from_card` will read there."""
        return None


Wrap = Callable[[TextEncoder, object], TextEncoder]
"""Of a text encoder, and of the network that reads what it gives."""


class NoTextEncoder(TextEncoder):
    """Of an unconditional model: every caption is an empty `Cond`."""

    dim = pooled_dim = max_length = 0

    def clipped(self, captions: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        return [[] for _ in captions], []

    def each(self, tokens: Sequence[list[int]]) -> list[Encoded]:
        return []

    def encode(self, captions: Sequence[str]) -> Cond:
        checked(captions)
        return Cond()

    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [[] for _ in captions]

    def card(self) -> dict[str, Any]:
        return card("none", "none", "", {"kind": "none"}, 0, 0)


def card(
    kind: str,
    name: str,
    sha256: str,
    config: dict[str, Any],
    dim: int,
    pooled_dim: int,
    tokenizer: str | None = None,
) -> dict[str, Any]:
    """An encoder's card: what it is called, what it was made from, and what it yields.

    `tokenizer` is the sha256 of one that is not a part of what has `sha256`.
    """
    return {
        "kind": kind,
        "name": name,
        "sha256": sha256,
        "tokenizer": tokenizer,
        "config": config,
        "dim": dim,
        "pooled_dim": pooled_dim,
    }


def checked(captions: Sequence[str]) -> None:
    """Raise if there is nothing to encode, or a UserError that shows the first text not Unicode."""
    if not captions:
        raise ValueError("no captions to encode")
    for caption in captions:
        try:
            caption.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"the caption {_short(caption)} is not valid Unicode text") from error


def check_room(max_length: int, specials: int) -> None:
    """Raise a UserError if the special tokens alone fill a caption."""
    if max_length <= specials:
        raise UserError(
            f"text.max_length={max_length} leaves no room for text beside the {specials} tokens "
            "that begin and end it"
        )


def _short(caption: str) -> str:
    return ascii(caption[:60]) + "..." * (len(caption) > 60)
