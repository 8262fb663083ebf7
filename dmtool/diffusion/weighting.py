"""Weightings of the loss: w(lambda) of ||x_0_hat - x_0||^2.

lambda is the log-SNR ln(alpha^2 / sigma^2). A weight and the density of training times are
separate: these are weights of times as they are drawn. Each prediction's loss is the same times its
own factor, see `denoise`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dmtool.config.noise import (
    EdmWeighting,
    LearnedWeighting,
    MinSnrWeighting,
    P2Weighting,
    SigmoidWeighting,
    UniformWeighting,
    Weighting,
)
from dmtool.diffusion.denoise import Weight


def min_snr(log_snr: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) (Hang et al., arXiv:2303.09556)."""
    return log_snr.exp().clamp(max=gamma)


def p2(log_snr: Tensor, gamma: float, k: float) -> Tensor:
    """SNR / (k + SNR)^gamma (Choi et al., arXiv:2204.00227, eq. 9): 1 / (k + SNR)^gamma on eps."""
    snr = log_snr.exp()
    return snr / (k + snr) ** gamma


def edm(log_snr: Tensor, sigma_data: float) -> Tensor:
    """SNR + 1 / sigma_data^2 (Karras et al., arXiv:2206.00364, table 1): 1 on EDM's own F."""
    return log_snr.exp() + sigma_data**-2


def sigmoid(log_snr: Tensor, bias: float) -> Tensor:
    """SNR sigmoid(bias - lambda), as e^bias sigmoid(lambda - bias): sigmoid(bias - lambda) on eps
    (Kingma & Gao, arXiv:2303.00848; `bias` as in Hoogeboom et al., arXiv:2410.19324)."""
    return math.exp(bias) * torch.sigmoid(log_snr - bias)


KINDS: dict[type, Callable[[Any], Weight | None]] = {
    UniformWeighting: lambda _: None,
    MinSnrWeighting: lambda config: partial(min_snr, gamma=config.gamma),
    P2Weighting: lambda config: partial(p2, gamma=config.gamma, k=config.k),
    EdmWeighting: lambda config: partial(edm, sigma_data=config.sigma_data),
    SigmoidWeighting: lambda config: partial(sigmoid, bias=config.bias),
    LearnedWeighting: lambda _: None,
}


def build(config: Weighting) -> Weight | None:
    """The weight that a config names; None is that of the prediction's own error."""
    return KINDS[type(config)](config)
