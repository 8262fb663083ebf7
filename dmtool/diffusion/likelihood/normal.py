"""Normal distributions, value by value, in nats."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.special import log_ndtr

from dmtool.diffusion.noise import Posterior

Noise = Callable[[Tensor], Tensor]
"""Draws standard normal noise of a tensor's shape."""


def divergence(step: Posterior, error: Tensor, log_var: Tensor) -> Tensor:
    """KL of the posterior from the model's step of that variance, which puts x_0 off by `error`."""
    apart = step.small + (step.pull * error) ** 2
    return (log_var - step.small.log() + apart * (-log_var).exp() - 1) / 2


def density(error: Tensor, log_var: Tensor) -> Tensor:
    """-ln of the density at `error` from the mean."""
    return (math.log(2 * math.pi) + log_var + error**2 * (-log_var).exp()) / 2


def discretised(x: Tensor, mean: Tensor, log_var: Tensor, width: float) -> Tensor:
    """-ln of the probability of the bin of this width about x in [-1, 1]; the outermost bins reach
    to infinity (Ho et al., arXiv:2006.11239, eq. 13).

    The side of the mean is turned so that differences are of lower tails, which lose no digits.
    """
    inverse, error = (-log_var / 2).exp(), x - mean
    near = log_ndtr((width / 2 - error.abs()) * inverse)
    far = log_ndtr((-width / 2 - error.abs()) * inverse)
    inner = near + torch.log(-torch.expm1((far - near).clamp(max=-1e-12)))
    top = log_ndtr((width / 2 - error) * inverse)  # the mass above the bin's lower edge
    bottom = log_ndtr((width / 2 + error) * inverse)
    inner = torch.where(x > 1 - width / 2, top, inner)
    return -torch.where(x < -1 + width / 2, bottom, inner)
