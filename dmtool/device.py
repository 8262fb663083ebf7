"""Where and how precisely to compute: `device=` and `dtype=` of every command."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import cache

import torch
from torch import Tensor

from dmtool.errors import UserError

DTYPES = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": (-3, 32 * 2**20),  # the largest that glibc takes
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
    "MALLOC_TOP_PAD_": (-2, 64 * 2**20),
}
"""glibc's options (mallopt(3)) by environment variable: number, and bytes."""


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA, else MPS, else the CPU; UserError for a device that is not there.

    On the CPU the process keeps the memory that it frees from then on.
    """
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if _available(kind)), "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device={name} is unknown; use auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "meta":
        raise UserError(
            "device=meta has shapes and no numbers, for dmtool plan alone: to train, add "
            "device=auto (or cpu, cuda, ...)"
        )
    if not _available(device.type):
        raise UserError(f"device={name} is not available on this machine; try device=auto")
    if device.type == "cpu":
        _keep_freed_memory()
    return device


@cache
def _keep_freed_memory() -> None:
    """Let malloc keep what is freed for the next tensor, as torch's own allocator does on CUDA.

    glibc returns large blocks to the system at once, which clears them anew for every tensor.
    What the environment says goes first; other C libraries are left as they are. The demo's noise
    predictor is 1.2 to 1.5 times as fast for it (`scripts/bench_malloc.py`).
    """
    with suppress(OSError, AttributeError):  # AttributeError: a C library without mallopt
        set_option = ctypes.CDLL(None).mallopt
        if not MALLOC.keys() & os.environ.keys():
            for option, value in MALLOC.values():
                set_option(option, value)


AVAILABLE: dict[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": lambda: torch.cuda.is_available(),
    "mps": lambda: torch.backends.mps.is_available(),
}


def _available(kind: str) -> bool:
    return kind in AVAILABLE and AVAILABLE[kind]()


def asynchronous(device: torch.device) -> bool:
    """Whether work on the device is queued, and the CPU goes on meanwhile."""
    return device.type != "cpu"


def locks_pages(device: torch.device) -> bool:
    """Whether copies between the device and page-locked memory need nobody to wait."""
    return device.type == "cuda"


def sent(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A tensor of the CPU on `device`; CUDA does not wait for it, as for `x.to(device)` it would:
    what is ordinary memory is staged before the call returns."""
    return x.to(dtype).to(device, non_blocking=locks_pages(device))


def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 where the device has no other (MPS)."""
    return torch.float32 if device.type == "mps" else torch.float64


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the processor is fast at it, else float32; UserError for float64
    where there is none."""
    if name == "fp64" and device.type == "mps":
        raise UserError("dtype=fp64 is not available on mps; use device=cpu, or dtype=fp32")
    if name != "auto":
        return DTYPES[name]
    return torch.bfloat16 if _fast_bf16(device) else torch.float32


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _fast_bf16_cpu()


def _fast_bf16_cpu() -> bool:
    """By private calls: the public one, `torch.cpu.get_capabilities`, is newer than torch 2.9."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Compute matrix products and convolutions in a half-precision `dtype`.

    Nothing changes for others: the weights then have the precision that is computed in.
    """
    return torch.autocast(device.type, dtype=dtype, enabled=dtype.itemsize == 2)


def peak_memory(device: torch.device) -> float:
    """The most memory that this process has taken so far, in GB: of the device, or of the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
