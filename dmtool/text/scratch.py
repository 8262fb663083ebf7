"""The text encoder that is learned with the noise predictor: captions -> token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from dmtool.config.base import Natural
from dmtool.config.parts import ScratchText
from dmtool.errors import UserError
from dmtool.files import reading
from dmtool.files.digests import digest
from dmtool.nn.text import TextTransformer
from dmtool.text.encoder import Encoded, TextEncoder, card, check_room

BEGIN, END = 1, 2  # 0 is padding
SPECIALS = ["<pad>", "<begin>", "<end>"]
FILE = "tokenizer.json"


MOST = 2**28
"""Bytes of a tokenizer."""


class Nfc(TypedDict):
    type: Literal["NFC"]


class ByteLevel(TypedDict):
    type: Literal["ByteLevel"]


@dataclass(frozen=True)
class BpeModel:
    """Byte-pair encoding, each token with its own id from 0 on."""

    type: Literal["BPE"]
    vocab: dict[str, Natural]
    merges: list[Any]

    def __post_init__(self) -> None:
        if sorted(self.vocab.values()) != list(range(len(self.vocab))):
            raise ValueError("the ids of vocab are not 0, 1, 2, ...")
        if [self.vocab.get(each) for each in SPECIALS] != [0, BEGIN, END]:
            raise ValueError(f"the first tokens are not {SPECIALS}")


class Definition(TypedDict):
    """What `Bpe.train` makes, and nothing else: no patterns that a text can be made to hang on."""

    normalizer: Nfc
    pre_tokenizer: ByteLevel
    model: BpeModel
    truncation: None
    padding: None
    post_processor: None


class Tokens(Protocol):
    """A tokenizer: ids of a text without the special tokens; `definition` names it entirely."""

    size: int
    definition: str

    def ids(self, captions: Sequence[str]) -> list[list[int]]: ...

    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]: ...


class Bytes:
    """A token is a byte of UTF-8: no training, nothing unknown."""

    size = len(SPECIALS) + 256
    definition = f"UTF-8 bytes after {SPECIALS}"

    def ids(self, captions: Sequence[str]) -> list[list[int]]:
        return [[len(SPECIALS) + byte for byte in caption.encode()] for caption in captions]

    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [
            [(i, i + 1) for i, character in enumerate(caption) for _ in character.encode()]
            for caption in captions
        ]


class Bpe:
    """Byte-pair encoding (arXiv:1508.07909) over bytes, so that nothing is unknown."""

    def __init__(self, definition: str) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(definition)
        except Exception as error:  # tokenizers raise nothing narrower
            raise UserError(f"the tokenizer cannot be read: {error}") from error
        self.definition = definition
        self.size = self._tokenizer.get_vocab_size()

    def ids(self, captions: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(captions))]

    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [encoding.offsets for encoding in self._tokenizer.encode_batch(list(captions))]

    @classmethod
    def train(cls, captions: Iterable[str], vocabulary: int) -> Bpe:
        """At most `vocabulary` tokens, whatever the order of the captions."""
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        smallest = len(SPECIALS) + len(alphabet)
        if vocabulary < smallest:
            raise UserError(f"text.vocabulary={vocabulary} is less than the {smallest} bpe needs")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=SPECIALS,
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer.train_from_iterator(sorted(captions), trainer)
        return cls(tokenizer.to_str())


class ScratchEncoder(TextEncoder):
    """Captions -> ids between BEGIN and END (the null caption is these two) for `network()`."""

    trainable = True

    def __init__(self, config: ScratchText, tokens: Tokens, device: torch.device | str) -> None:
        check_room(config.max_length, specials=2)
        self.config, self.tokens, self.device = config, tokens, device
        self.dim = self.pooled_dim = config.width
        self.max_length = config.max_length

    @property
    def vocabulary(self) -> int:
        """The number of token ids, which bpe may not fill up to the config's `vocabulary`."""
        return self.tokens.size

    def clipped(self, captions: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        ids, room = self.tokens.ids(captions), self.max_length - 2
        lost = [i for i, caption in enumerate(ids) if len(caption) > room]
        return [[BEGIN, *caption[:room], END] for caption in ids], lost

    def spans(self, captions: Sequence[str]) -> list[list[tuple[int, int]]]:
        room = self.max_length - 2
        return [[(0, 0), *row[:room], (0, 0)] for row in self.tokens.spans(captions)]

    def each(self, tokens: Sequence[list[int]]) -> list[Encoded]:
        return [Encoded(torch.tensor(ids, device=self.device), None) for ids in tokens]

    def card(self) -> dict[str, Any]:
        config, name = asdict(self.config), self.config.tokenizer
        return card("scratch", name, digest(self.tokens.definition), config, self.dim, self.dim)

    def network(self) -> TextTransformer:
        c = self.config
        return TextTransformer(self.vocabulary, c.width, c.depth, c.heads, c.max_length)

    def save(self, folder: Path) -> None:
        if isinstance(self.tokens, Bpe):
            (folder / FILE).write_text(self.tokens.definition, encoding="utf-8")


def new(
    config: ScratchText, captions: Iterable[str] | None, device: torch.device | str
) -> ScratchEncoder:
    """The encoder of a new run; bpe is trained on `captions`."""
    if config.tokenizer == "bytes":
        return ScratchEncoder(config, Bytes(), device)
    if captions is None:
        raise UserError("text.tokenizer=bpe is trained on captions, and there are none: use bytes")
    return ScratchEncoder(config, Bpe.train(captions, config.vocabulary), device)


def read(config: ScratchText, folder: Path | None, device: torch.device | str) -> ScratchEncoder:
    """The encoder of a trained run, with the tokenizer that `save` wrote to `folder`."""
    if config.tokenizer == "bytes":
        return ScratchEncoder(config, Bytes(), device)
    path = (folder or Path()) / FILE
    if not path.is_file():
        raise UserError(f"{path}: the text tokenizer of this run is missing")
    definition = reading.read_text(path, MOST)
    reading.checked(reading.parsed(definition, path), Definition, path)
    return ScratchEncoder(config, Bpe(definition), device)
