"""The states of all captions, computed once, kept on disk, and read as padded batches.

Captions have few tokens, so states are kept ragged, one caption after another, in the order of
their length (in which they are encoded, so that batches hold little padding):

    values.safetensors   [T + 1, D] float16 (float32 if it does not fit), the last row is padding;
                         or token ids [T + 1] of an encoder that is learned with the network
    pooled.safetensors   [U, P] float32
    index.safetensors    offsets [U + 1]: caption r has values[offsets[r]:offsets[r + 1]];
                         rows [U]: the r of each caption in alphabetic order
    truncated.json       how many captions were cut, and the first
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from dmtool.cache import digest, directory
from dmtool.cond import Cond
from dmtool.text.encoder import TextEncoder, checked, warn_truncated

FORMAT = 1
_NAMES = {torch.float16: "F16", torch.float32: "F32", torch.int64: "I64"}


@dataclass(frozen=True, eq=False)
class States:
    """The conditions of N captions, by their index; -1 is the null caption.

    `values` [T + 1, D] or [T + 1], `offsets` [U + 1] and `pooled` [U, P] are those of the files;
    `rows` [N + 1] says where each caption stands among the U distinct ones, the null caption last.
    """

    values: Tensor | None
    offsets: Tensor
    rows: Tensor
    pooled: Tensor | None

    def __len__(self) -> int:
        return len(self.rows) - 1

    def cond(self, indices: Sequence[int] | Tensor) -> Cond:
        """B indices -> states [B, L, D] (float32; or ids [B, L]), mask [B, L], pooled [B, P]."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        if index.numel() and (index.min() < -1 or index.max() >= len(self)):
            raise IndexError(f"caption {index.tolist()} of {len(self)} (-1 is the null caption)")
        if self.values is None:
            return Cond()
        rows = self.rows[index]
        at, mask = self._places(rows)
        states = self.values.index_select(0, at.flatten()).unflatten(0, at.shape)
        states = states.float() if states.is_floating_point() else states
        return Cond(states, mask, None if self.pooled is None else self.pooled[rows])

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [D] of each channel over the tokens of distinct captions."""
        if self.values is None or not self.values.is_floating_point():
            raise ValueError("only a frozen text encoder has statistics")
        chunks = self.values[:-1].split(1 << 14)
        count = len(self.values) - 1
        total = torch.stack([chunk.double().sum(0) for chunk in chunks]).sum(0)
        mean = total / count
        square = torch.stack([(c.double() - mean).square().sum(0) for c in chunks]).sum(0)
        return mean.float(), (square / count).sqrt().float()

    def _places(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Where in `values` the tokens stand [B, L] (padding: the last row), and the mask."""
        assert self.values is not None
        start = self.offsets[rows]
        length = self.offsets[rows + 1] - start
        along = torch.arange(int(length.max()) if len(rows) else 0)
        mask = along < length[:, None]
        return torch.where(mask, start[:, None] + along, len(self.values) - 1), mask


def cached_states(
    encoder: TextEncoder, captions: Sequence[str], batch_size: int = 64, progress: bool = True
) -> States:
    """The states of `captions` and of the null caption, read from the cache or put there.

    The cache is addressed by the set of captions and by the encoder's weights and config, so order,
    repetition and the place of the weights do not matter. Captions that were cut are reported each
    time. Float16 is exact to 5e-4 of a value.
    """
    distinct = sorted({*captions, ""})
    position = {caption: i for i, caption in enumerate(distinct)}
    place = torch.tensor([position[caption] for caption in [*captions, ""]])
    if not encoder.dim:
        return States(None, torch.zeros(1, dtype=torch.int64), place, None)
    checked(distinct)
    key = {"format": FORMAT, "encoder": _identity(encoder), "captions": digest(distinct)}
    build = _Build(encoder, distinct, batch_size, progress)
    return _read(directory("text", key, build), place, encoder.max_length)


@dataclass(frozen=True)
class _Build:
    """Fills a directory of the cache."""

    encoder: TextEncoder
    captions: list[str]
    batch_size: int
    progress: bool

    def __call__(self, folder: Path) -> None:
        tokens, lost = self._clipped()
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        lengths = torch.tensor([0, *(len(tokens[i]) for i in order)])
        index = {"offsets": lengths.cumsum(0), "rows": torch.tensor(order).argsort()}
        save_file(index, folder / "index.safetensors")
        report = {"count": len(lost), "first": self.captions[lost[0]] if lost else ""}
        (folder / "truncated.json").write_text(json.dumps(report))
        ordered = [tokens[i] for i in order]
        try:
            self._write(folder, ordered, torch.float16)
        except OverflowError:
            self._write(folder, ordered, torch.float32)

    def _clipped(self) -> tuple[list[list[int]], list[int]]:
        """In pieces: tokenizers keep much more of a text than its ids while they work on it."""
        tokens: list[list[int]] = []
        lost: list[int] = []
        for start in range(0, len(self.captions), 4096):
            some, cut = self.encoder.clipped(self.captions[start : start + 4096])
            tokens += some
            lost += (start + i for i in cut)
        return tokens, lost

    def _write(self, folder: Path, tokens: list[list[int]], half: torch.dtype) -> None:
        rows = sum(map(len, tokens)) + 1
        trainable, dim, pooled_dim = (
            self.encoder.trainable,
            self.encoder.dim,
            self.encoder.pooled_dim,
        )
        dtype, shape = (torch.int64, (rows,)) if trainable else (half, (rows, dim))
        pooled_shape = (0 if trainable else len(tokens), pooled_dim)
        with (
            _writing(folder / "values.safetensors", "values", dtype, shape) as values,
            _writing(
                folder / "pooled.safetensors", "pooled", torch.float32, pooled_shape
            ) as pooled,
        ):
            for cond in self._batches(tokens):
                assert cond.states is not None and cond.mask is not None
                values(cond.states[cond.mask])
                if cond.pooled is not None:
                    pooled(cond.pooled)
            values(torch.zeros((1, *shape[1:]), dtype=dtype))

    def _batches(self, tokens: list[list[int]]) -> Iterator[Cond]:
        bar = tqdm(total=len(tokens), desc="text", unit="caption", disable=not self.progress)
        with bar:
            for start in range(0, len(tokens), self.batch_size):
                batch = tokens[start : start + self.batch_size]
                yield self.encoder.embed(batch)
                bar.update(len(batch))


@contextmanager
def _writing(
    path: Path, name: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> Iterator[Callable[[Tensor], None]]:
    """A safetensors file of one tensor, appended to piece by piece: it may exceed the memory."""
    size = torch.Size(shape).numel() * dtype.itemsize
    entry = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [0, size]}
    header = json.dumps({name: entry}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        yield lambda rows: _append(file, rows, dtype)


def _append(file: BinaryIO, rows: Tensor, dtype: torch.dtype) -> None:
    """Write `rows`; OverflowError if they do not fit `dtype`."""
    if not rows.isfinite().all():
        raise ValueError("the text encoder gave states that are not finite")
    narrow = rows.to("cpu", dtype).contiguous()
    if not narrow.isfinite().all():
        raise OverflowError
    file.write(narrow.numpy().data)


def _identity(encoder: TextEncoder) -> dict[str, Any]:
    """What states depend on: the card without the place of the weights."""
    card = encoder.card()
    config = {name: value for name, value in card["config"].items() if name != "name"}
    return {"kind": card["kind"], "sha256": card["sha256"], "config": config}


def _read(folder: Path, place: Tensor, max_length: int) -> States:
    cut = json.loads((folder / "truncated.json").read_text())
    warn_truncated(cut["count"], cut["first"], max_length)
    index = load_file(folder / "index.safetensors")
    pooled = _mapped(folder / "pooled.safetensors", "pooled")
    return States(
        values=_mapped(folder / "values.safetensors", "values"),
        offsets=index["offsets"],
        rows=index["rows"][place],
        pooled=pooled if len(pooled) else None,
    )


def _mapped(path: Path, name: str) -> Tensor:
    """A tensor backed by the file: pages are read when they are used."""
    with safe_open(path, "pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor
