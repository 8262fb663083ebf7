"""Rows that are encoded once, by all processes together: shards of some size in the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from dmtool.files import cache, records
from dmtool.files.locks import locked
from dmtool.files.records import Shard
from dmtool.files.tensors import half

ROWS = 256
"""Rows that are encoded at once."""

BYTES = 128 * 2**20
"""A large shard's size, about: so that there are few files, however large the set is."""

PARTS = 256
"""Shards that there are at least, where each has `ROWS` rows: so processes can share them out, and
one that dies takes little with it."""

OPEN = 1024
"""Files that a process has in its memory map for single rows; Linux allows 65,530 maps in all."""

Tensors = dict[str, Tensor]
Encode = Callable[[range], Tensors]
"""The tensors of at most `ROWS` rows, one element of each a row, or several. They must depend on
the rows alone, or a cache that was filled in two goes would differ from one filled in one."""
Finish = Callable[[Tensors], Tensors]
"""A shard's tensors, made of those of all its rows one after another."""


@dataclass(frozen=True, eq=False)
class Shards:
    """Row r stands in shard r div `size`; the tensors are backed by the files."""

    files: list[Shard]
    size: int

    def __len__(self) -> int:
        return len(self.files)

    def place(self, row: int) -> tuple[Tensors, int]:
        """The shard of a row, and the row's number within it."""
        shard, within = divmod(row, self.size)
        return _mapped(self.files[shard]), within

    def column(self, name: str) -> list[Tensor]:
        """One tensor of each shard, in order."""
        return [_mapped(file)[name] for file in self.files]


def per_shard(rows: int, row_bytes: int) -> int:
    """Rows of a shard: a 256th of all or as many as fit, in whole pieces of `ROWS` if one fits."""
    shared = ROWS * -(-rows // (ROWS * PARTS))
    fitting = max(1, BYTES // row_bytes)
    return max(ROWS, min(shared, fitting // ROWS * ROWS)) if fitting >= ROWS else fitting


def filled(
    kind: str,
    key: Mapping[str, Any],
    rows: int,
    row_bytes: int,
    encode: Encode,
    finish: Finish = dict,
) -> Shards:
    """The shards of `rows` rows, read from the cache, or encoded where missing or damaged.

    Every process that calls this takes shards that nobody else is making, and waits for the others'
    at the end; one that has none to make waits alike. Checksums are verified before anything is
    used for the first time, and then whenever a file has changed. `key` names all that the encoding
    depends on; `row_bytes` is about how large a row is, and follows from it.
    """
    size = per_shard(rows, row_bytes)
    parts = [range(i, min(i + size, rows)) for i in range(0, rows, size)]
    entry = cache.sharded(kind, {**key, "rows": rows, "per_shard": size}, len(parts))
    done = cache.verified(entry)
    missing = [i for i in range(len(parts)) if i not in done]
    total = sum(len(parts[i]) for i in missing)
    with tqdm(total=total, desc=kind, unit=" rows", disable=_silent(missing)) as bar:
        for wait in (False, True):  # first what is free, then what others had begun
            for i in [i for i in missing if i not in done]:
                with locked(entry, i + 1, wait=wait) as mine:
                    if mine:
                        made = cache.there(entry, i)
                        done[i] = made or _made(entry, i, parts[i], encode, finish, bar)
                if mine:
                    records.note(entry, [done[i]])
    return Shards([done[i] for i in range(len(parts))], size)


def compact(values: Tensor) -> Tensor:
    """What an encoder gave, on the CPU: `half`, or in float32 where that overflows.

    Raises ValueError for values that are not finite.
    """
    values = values.float().cpu()
    if not values.isfinite().all():
        raise ValueError("the encoder gave values that are not finite")
    return half(values)


def _silent(missing: list[int]) -> bool | None:
    """One bar for the processes of a run; None has tqdm look for a terminal."""
    return not missing or os.environ.get("LOCAL_RANK", "0") != "0" or None


def _made(
    entry: Path, number: int, rows: range, encode: Encode, finish: Finish, bar: tqdm[Any]
) -> Shard:
    pieces = []
    for start in range(0, len(rows), ROWS):
        pieces.append(encode(rows[start : start + ROWS]))
        bar.update(len(rows[start : start + ROWS]))
    tensors = finish({name: torch.cat([each[name] for each in pieces]) for name in pieces[0]})
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    return cache.write_shard(entry, number, content)


@lru_cache(OPEN)
def _mapped(shard: Shard) -> Tensors:
    """Tensors backed by the file: pages are read when they are used."""
    with safe_open(shard.path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
