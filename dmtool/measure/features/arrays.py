"""Arrays of `.npz` files that may come from anywhere: looked at before they are read."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, NamedTuple

from numpy.lib import format as npy
from numpy.typing import NDArray

from dmtool.files import reading
from dmtool.files.reading import Unreadable

Arrays = dict[str, NDArray[Any]]

PLAIN = 2**28
"""Bytes that an array may have whatever its file's size; of larger ones at most `PACKED` times
that: covariances hardly shrink in a zip, and drawings by less."""
PACKED = 50
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
BROKEN = (
    ValueError, OSError, EOFError, KeyError, OverflowError, NotImplementedError, RuntimeError,
    SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and numpy raise for files that are damaged, encrypted or not theirs."""


class Found(NamedTuple):
    """The arrays that were asked for, as far as they are there, and the names of all."""

    arrays: Arrays
    held: list[str]


def read(path: Path, names: Collection[str]) -> Found:
    """Some arrays of a file; Unreadable if it is no whole `.npz`, holds Python objects (pickles),
    or claims to be larger than it is. Nothing in it can run code."""
    with reading.opened(path) as file:
        try:
            if file.read(6) == npy.MAGIC_PREFIX:
                raise Unreadable(f"{path} is a single array, not an .npz of mu and sigma")
            with zipfile.ZipFile(file) as whole:
                members = {each.filename: each for each in whole.infolist()}
                held = [name.removesuffix(".npy") for name in members]
                there = [name for name in names if f"{name}.npy" in members]
                arrays = {n: _array(whole, members[f"{n}.npy"], path) for n in there}
        except Unreadable:
            raise
        except BROKEN as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise Unreadable(
                f"{path} cannot be read as an .npz of arrays ({reason}); pickles are refused, "
                "since loading one can run code: write it anew with numpy.savez(FILE, mu=mu, "
                "sigma=sigma)"
            ) from error
    return Found(arrays, held)


def _array(whole: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    size = path.stat().st_size
    with whole.open(member) as file:
        claimed = _claimed(file)
    if claimed != member.file_size:
        raise ValueError(f"{member.filename} claims {claimed:,} bytes and has {member.file_size:,}")
    if claimed > max(PLAIN, PACKED * size):
        raise Unreadable(
            f"{member.filename} in {path} has {claimed:,} bytes, more than {PACKED} times those of "
            "its file: write it anew with numpy.savez"
        )
    with whole.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def _claimed(file: IO[bytes]) -> int:
    """The bytes that an array has by its header, and the header's."""
    version = npy.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"format {version} of numpy's arrays")
    shape, _, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return math.prod(shape) * dtype.itemsize + file.tell()
