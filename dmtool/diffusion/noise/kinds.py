"""Schedules by name, and how a network hears the noise level."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from dmtool.diffusion.noise.continuous import Cosine, Edm, Flow, Schedule, Sigmoid, VpSde
from dmtool.diffusion.noise.discrete import Betas, T, ZeroTerminal, ddpm_betas, sd_betas


def _discrete(betas: Callable[[], Tensor], *, zero_terminal_snr: bool = False) -> Schedule:
    table = Betas(betas())
    return ZeroTerminal(table) if zero_terminal_snr else table


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "flow": Flow,
    "cosine": Cosine,
    "ddpm": partial(_discrete, ddpm_betas),
    "scaled_linear": partial(_discrete, sd_betas),
}
"""Kinds that need no options. Cards that are older than an option lack it, and mean what it is by
itself here: no shift, no rescaling."""

WITH_OPTIONS: dict[str, Callable[..., Schedule]] = {"sigmoid": Sigmoid, "vp_sde": VpSde, "edm": Edm}
"""Kinds that need all of their options."""


@lru_cache
def schedule(kind: str, **options: float) -> Schedule:
    """The schedule of this name and its class's options; KeyError for an unknown name."""
    return (SCHEDULES | WITH_OPTIONS)[kind](**options)


def _index(kind: str, zero: bool) -> Callable[[Tensor], Tensor]:
    return lambda log_snr: schedule(kind, zero_terminal_snr=zero).time(log_snr) * T - 1


HEARD: dict[str, Callable[[Tensor], Tensor]] = {
    "flow_time": lambda log_snr: 1000 * torch.sigmoid(-log_snr / 2),
    "log_sigma": lambda log_snr: -log_snr.clamp(-20, 20) / 8,
    "ddpm_index": _index("ddpm", False),
    "ddpm_zero_index": _index("ddpm", True),
    "sd_index": _index("scaled_linear", False),
    "sd_zero_index": _index("scaled_linear", True),
}


def c_noise(kind: str, log_snr: Tensor) -> Tensor:
    """What the network is told of the noise level, of log_snr's shape; KeyError for an unknown
    kind.

    flow_time: 1000 sigma / (alpha + sigma), which is 1000 t of rectified flow. log_sigma:
    ln(sigma / alpha) / 4 (EDM, arXiv:2206.00364, table 1). ddpm_index, sd_index: the (fractional)
    index 0..999 of that discrete model with this log-SNR; ddpm_zero_index, sd_zero_index: of that
    model with zero terminal SNR. All are finite at both ends: log_sigma stops at a log-SNR of
    +-20, just beyond what training draws.
    """
    return HEARD[kind](log_snr)
