"""Rows that are encoded once, by all processes together: shards of 256 rows in the cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from dmtool import cache

ROWS = 256
"""Rows of a shard: what is lost when a process dies, and the unit that processes share out."""

Tensors = dict[str, Tensor]
Encode = Callable[[range], Tensors]
"""The tensors of some rows. They must depend on the rows alone, or a cache that was filled in two
goes would differ from one filled in one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Shards:
    """Row r stands in shard r div `ROWS`; the tensors are backed by the files."""

    tensors: list[Tensors]

    def place(self, row: int) -> tuple[Tensors, int]:
        """The shard of a row, and the row's number within it."""
        shard, within = divmod(row, ROWS)
        return self.tensors[shard], within

    def column(self, name: str) -> list[Tensor]:
        """One tensor of each shard, in order."""
        return [tensors[name] for tensors in self.tensors]


def filled(kind: str, key: Mapping[str, Any], rows: int, encode: Encode) -> Shards:
    """The shards of `rows` rows, read from the cache, or encoded where missing or damaged.

    Every process that calls this takes shards that nobody else is making, and waits for the others'
    at the end; one that has none to make waits alike. Checksums are verified before anything is
    used. `key` names all that the encoding depends on.
    """
    count = -(-rows // ROWS)
    entry = cache.sharded(kind, {**key, "rows": rows, "per_shard": ROWS}, count)
    done = {i: path for i, path in cache.shards(entry).items() if cache.intact(path)}
    missing = [i for i in range(count) if i not in done]
    with tqdm(total=len(missing), desc=kind, unit="shard", disable=_silent(missing)) as bar:
        for wait in (False, True):  # first what is free, then what others had begun
            for i in [i for i in missing if i not in done]:
                with cache.locked(entry, i + 1, wait=wait) as mine:
                    if mine:
                        done[i] = _shard(
                            entry, i, range(i * ROWS, min((i + 1) * ROWS, rows)), encode
                        )
                        bar.update()
    return Shards([_mapped(done[i]) for i in range(count)])


def half(values: Tensor) -> Tensor:
    """On the CPU as float16, which is exact to 5e-4 of a value; as float32 if that overflows.

    Raises ValueError for values that are not finite.
    """
    values = values.float().cpu()
    if not values.isfinite().all():
        raise ValueError("the encoder gave values that are not finite")
    narrow = values.half()
    return narrow if narrow.isfinite().all() else values


def _silent(missing: list[int]) -> bool | None:
    """One bar for the processes of a run; None has tqdm look for a terminal."""
    return not missing or os.environ.get("LOCAL_RANK", "0") != "0" or None


def _shard(entry: Path, number: int, rows: range, encode: Encode) -> Path:
    """The shard that another process has made meanwhile, or ours."""
    path = cache.shards(entry).get(number)
    if path is not None:
        if cache.intact(path):
            return path
        log.warning("%s is damaged and made anew", path)
        path.unlink()
    tensors = {name: tensor.contiguous() for name, tensor in encode(rows).items()}
    return cache.write_shard(entry, number, save(tensors))


def _mapped(path: Path) -> Tensors:
    """Tensors backed by the file: pages are read when they are used."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
