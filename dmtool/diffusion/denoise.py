"""A network becomes a denoiser: its prediction becomes an estimate of the clean picture.

Every prediction is F = a x_0 + b eps. With x_t = alpha x_0 + sigma eps that gives
x_0 = c_skip x_t + c_out F, and ||x_0_hat - x_0||^2 = c_out^2 ||F_hat - F||^2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dmtool.cond import Cond
from dmtool.device import sent
from dmtool.diffusion.noise import Posterior, Schedule, c_noise, log_snr, schedule
from dmtool.errors import UserError
from dmtool.nn.precision import wide, widened

Coefficients = tuple[Tensor, Tensor]

Weight = Callable[[Tensor], Tensor]
"""w(log-SNR) of ||x_0_hat - x_0||^2; where None stands for one, the prediction's own error counts,
||F_hat - F||^2."""


class Denoise(Protocol):
    """What samplers and guidance know: (x_t, t, cond) -> estimate of x_0, and the schedule.

    x_t is [B, ...], the estimate has its shape. t is [B] in [0, 1] and stays on the CPU: its
    coefficients are computed there in float64, which not every device has, and cost no sync.
    """

    @property
    def schedule(self) -> Schedule: ...

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor: ...


class Estimate(NamedTuple):
    """An estimate of x_0, and beside it, if one has been learned, the variance's interpolation
    fraction, of x_0's shape: 0 is a step's beta-tilde, 1 its beta (`noise.Posterior`)."""

    x_0: Tensor
    fraction: Tensor | None = None


class Estimating(ABC):
    """A denoiser by its `estimate`, which passes on a learned variance's fraction.

    Guidance passes on that of the conditional model. Only `ddpm` and the variational bound ask for
    it; all else calls the denoiser.
    """

    @abstractmethod
    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate: ...

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        return self.estimate(x_t, t, cond).x_0


def estimate(denoiser: Denoise, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
    """What a denoiser estimates; one that is a call alone has learned no variance."""
    if isinstance(denoiser, Estimating):
        return denoiser.estimate(x_t, t, cond)
    return Estimate(denoiser(x_t, t, cond))


def _learned(step: Posterior, fraction: Tensor | None) -> Tensor:
    if fraction is None:
        raise UserError(
            "variance=learned: this noise predictor has not learned one, which takes "
            "noise/variance=learned in training; take variance=small or large"
        )
    return step.between(fraction)


VARIANCES: dict[str, Callable[[Posterior, Tensor | None], Tensor]] = {
    "small": lambda step, _: step.small.log(),
    "large": lambda step, _: step.large.log(),
    "learned": _learned,
}


def log_variance(kind: str, step: Posterior, fraction: Tensor | None) -> Tensor:
    """ln of the variance that a step is given: small and large are the posterior's, learned is
    where the network says between them (UserError if it has not learned to)."""
    return VARIANCES[kind](step, fraction)


class Comparison(NamedTuple):
    """A prediction's weighted squared error for each example, [B], at least float32, and what it
    says of the picture."""

    error: Tensor
    estimate: Estimate


class Prediction(NamedTuple):
    """What a network may predict: its (a, b) of F = a x_0 + b eps, and its (c_skip, c_out) of
    x_0 = c_skip x_t + c_out F, both of alpha, sigma and, for edm, sigma_data."""

    target: Callable[[Tensor, Tensor, float | None], Coefficients]
    x_0: Callable[[Tensor, Tensor, float | None], Coefficients]


def _x0_of_eps(alpha: Tensor, sigma: Tensor, _: float | None) -> Coefficients:
    if bool((alpha == 0).any()):
        raise ValueError("eps -> x0 is undefined at alpha = 0: predict v, x0 or flow")
    return 1 / alpha, -sigma / alpha


def _x0_of_v(alpha: Tensor, sigma: Tensor, _: float | None) -> Coefficients:
    norm = alpha**2 + sigma**2
    return alpha / norm, -sigma / norm


def _x0_of_flow(alpha: Tensor, sigma: Tensor, _: float | None) -> Coefficients:
    return 1 / (alpha + sigma), -sigma / (alpha + sigma)


def _edm(alpha: Tensor, sigma: Tensor, sigma_data: float | None) -> Coefficients:
    assert sigma_data is not None
    scale = c_in(alpha, sigma, sigma_data)
    return scale * sigma / sigma_data, -scale * alpha * sigma_data


def _x0_of_edm(alpha: Tensor, sigma: Tensor, sigma_data: float | None) -> Coefficients:
    assert sigma_data is not None
    scale = c_in(alpha, sigma, sigma_data)
    return alpha * (sigma_data * scale) ** 2, sigma * sigma_data * scale


one, zero = torch.ones_like, torch.zeros_like

PREDICTIONS = {
    "eps": Prediction(lambda alpha, sigma, _: (zero(alpha), one(alpha)), _x0_of_eps),
    "x0": Prediction(
        lambda alpha, sigma, _: (one(alpha), zero(alpha)),
        lambda alpha, sigma, _: (zero(alpha), one(alpha)),
    ),
    "v": Prediction(lambda alpha, sigma, _: (-sigma, alpha), _x0_of_v),
    "flow": Prediction(lambda alpha, sigma, _: (-one(alpha), one(alpha)), _x0_of_flow),
    "edm": Prediction(_edm, _x0_of_edm),
}
"""v is alpha eps - sigma x_0 (Salimans & Ho, arXiv:2202.00512, eq. 21); flow is the velocity of
rectified flow, eps - x_0; edm is what Karras' preconditioning leaves to the network for data of
standard deviation `sigma_data` (arXiv:2206.00364, eq. 8 and table 1), in terms of x_t / alpha and
sigma / alpha."""


def target_coefficients(
    kind: str, alpha: Tensor, sigma: Tensor, sigma_data: float | None = None
) -> Coefficients:
    """(a, b) of the prediction F = a x_0 + b eps; KeyError for an unknown one."""
    return PREDICTIONS[kind].target(alpha, sigma, sigma_data)


def x0_coefficients(
    kind: str, alpha: Tensor, sigma: Tensor, sigma_data: float | None = None
) -> Coefficients:
    """(c_skip, c_out) of x_0 = c_skip x_t + c_out F; KeyError for an unknown prediction.

    Raises ValueError for eps where alpha = 0: pure noise says nothing about x_0 there.
    """
    return PREDICTIONS[kind].x_0(alpha, sigma, sigma_data)


def c_in(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Tensor:
    """What brings x_t to variance 1: 1 / sqrt(sigma^2 + alpha^2 sigma_data^2)."""
    return (sigma**2 + (alpha * sigma_data) ** 2) ** -0.5


def eps_from_x0(x_t: Tensor, x_0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noise in x_t given x_0; ValueError where sigma = 0: there is none left to tell."""
    if bool((sigma == 0).any()):
        raise ValueError("x0 -> eps is undefined at sigma = 0")
    return (x_t - expand(alpha, x_t) * x_0) / expand(sigma, x_t)


def expand(coefficient: Tensor, like: Tensor) -> Tensor:
    """A coefficient of the CPU, [B] or a scalar, shaped and moved to multiply a [B, ...] tensor."""
    if coefficient.dim() == 0:
        return coefficient  # devices take scalars of the CPU as they are
    return sent(coefficient.reshape(-1, *[1] * (like.dim() - 1)), like.device, like.dtype)


@dataclass
class Denoiser(Estimating):
    """`network(x, c_noise, cond) -> F` as a denoiser, in x_t's type whatever the network computes
    in.

    Args:
        network: maps x [B, C, H, W], c_noise [B] and a Cond to F, of x's shape; [B, 2 C, H, W] if
            it has learned a variance, whose fraction is half of 1 + what it says.
        schedule: the noise schedule it was trained with, or another one.
        prediction: eps, v, x0, flow or edm.
        hears: the kind of `c_noise`.
        sigma_data: the data's standard deviation. Where it is given the network sees x_t times
            `c_in`, whatever it predicts, as variance-exploding schedules need; else x_t itself.
        variance: fixed or learned.
    """

    network: Callable[[Tensor, Tensor, Cond], Tensor]
    schedule: Schedule
    prediction: str
    hears: str
    sigma_data: float | None = None
    variance: str = "fixed"

    def predict(self, x_t: Tensor, t: Tensor, cond: Cond) -> tuple[Tensor, Tensor | None]:
        """The network's raw prediction F, and the fraction of a learned variance."""
        alpha, sigma = self.schedule(t.double())
        level = sent(c_noise(self.hears, log_snr(alpha, sigma)), x_t.device, widened(x_t.dtype))
        x = x_t
        if self.sigma_data is not None:
            x = expand(c_in(alpha, sigma, self.sigma_data), x_t) * x_t
        output = self.network(x, level, cond).to(x_t.dtype)
        if self.variance == "fixed":
            return output, None
        prediction, between = output.chunk(2, dim=1)
        return prediction, (between + 1) / 2

    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
        return self._estimate(x_t, t, *self.predict(x_t, t, cond))

    def loss(
        self, x_0: Tensor, eps: Tensor, t: Tensor, cond: Cond, weight: Weight | None
    ) -> Tensor:
        """The weighted squared error of the prediction for each example, [B], at least float32."""
        return self.compare(x_0, eps, t, cond, weight).error

    def compare(
        self, x_0: Tensor, eps: Tensor, t: Tensor, cond: Cond, weight: Weight | None
    ) -> Comparison:
        """The prediction at x_t = alpha x_0 + sigma eps against the truth."""
        alpha, sigma = self.schedule(t.double())
        x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
        a, b = target_coefficients(self.prediction, alpha, sigma, self.sigma_data)
        target = expand(a, x_0) * x_0 + expand(b, x_0) * eps
        prediction, fraction = self.predict(x_t, t, cond)
        error = (wide(prediction) - wide(target)) ** 2
        error = error.flatten(1).mean(1)
        if weight is not None:
            _, c_out = x0_coefficients(self.prediction, alpha, sigma, self.sigma_data)
            error = (weight(log_snr(alpha, sigma)) * c_out**2).to(error) * error
        return Comparison(error, self._estimate(x_t, t, prediction, fraction))

    def _estimate(
        self, x_t: Tensor, t: Tensor, prediction: Tensor, fraction: Tensor | None
    ) -> Estimate:
        levels = self.schedule(t.double())
        c_skip, c_out = x0_coefficients(self.prediction, *levels, self.sigma_data)
        return Estimate(expand(c_skip, x_t) * x_t + expand(c_out, x_t) * prediction, fraction)


def build(
    network: Callable[[Tensor, Tensor, Cond], Tensor], process: Mapping[str, Any]
) -> Denoiser:
    """The denoiser of a network and a card's noise process.

    That is kind, prediction, c_noise, the schedule's options, sigma_data where the network's input
    is scaled, and variance where it is learned.
    """
    options = dict(process)
    prediction, hears = options.pop("prediction"), options.pop("c_noise")
    sigma_data, variance = options.pop("sigma_data", None), options.pop("variance", "fixed")
    return Denoiser(network, schedule(**options), prediction, hears, sigma_data, variance)
