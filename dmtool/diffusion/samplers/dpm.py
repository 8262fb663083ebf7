"""DPM-Solver++ with several steps' estimates: 2M, 2M-SDE, 3M."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from torch import Tensor

from dmtool.diffusion.samplers.base import Bound, Noise, Step, intervals
from dmtool.diffusion.samplers.renoise import renoising

Support = tuple[Tensor, Tensor]
"""The half log-SNR at which x_0 was estimated, and the estimate."""


@renoising
def dpm_solver(
    denoiser: Bound,
    x: Tensor,
    times: Tensor,
    *,
    noise: Noise,
    order: int,
    eta: float = 0.0,
    curvature: float = 1.0,
) -> Iterator[Step]:
    """DPM-Solver++ (Lu et al., arXiv:2211.01095, algorithm 2 and its SDE; eta as in k-diffusion).

    With lambda the half log-SNR, h = lambda_b - lambda_a and z = (1 + eta) h, the step is

        x_b = sigma_b / sigma_a e^(-eta h) x_a + alpha_b ((1 - e^-z) x_0 + correction)
              + sigma_b sqrt(1 - e^(-2 eta h)) noise.

    The correction comes from the last `order` estimates, of fewer in the first steps, and there is
    none in a step from alpha = 0 or to sigma = 0, infinitely long in lambda. `curvature` is the
    factor of 3M's term of second differences: 1 as in the authors' code, k-diffusion and diffusers,
    which is of second order; Taylor's expansion has 2, of third.
    """
    supports: deque[Support] = deque(maxlen=order)
    for a, b in intervals(times, denoiser.schedule):
        x_0 = denoiser(x, a.t)
        if a.alpha > 0:
            supports.append((a.half_log_snr, x_0))
        decay = b.sigma * a.alpha / (a.sigma * b.alpha)  # e^-h, and 0 where h is infinite
        gain = 1 - decay ** (1 + eta)
        data = gain * x_0
        if decay > 0:
            h = -decay.log()
            data = data + _correction([*supports], h, (1 + eta) * h, gain, curvature)
        x = b.sigma / a.sigma * decay**eta * x + b.alpha * data
        if eta > 0 and b.sigma > 0:
            x = x + b.sigma * (1 - decay ** (2 * eta)).sqrt() * noise(x)
        yield Step(b.t.item(), x, x_0)


def _correction(
    supports: list[Support], h: Tensor, z: Tensor, gain: Tensor, curvature: float
) -> Tensor | float:
    """What x_0's slope and curvature in lambda, by divided differences, add to gain x_0."""
    if len(supports) == 1:
        return 0.0
    (lambda_1, x_1), (lambda_0, x_0) = supports[-2:]
    slope = (x_0 - x_1) / (lambda_0 - lambda_1)
    if len(supports) == 2:
        return gain * h / 2 * slope
    lambda_2, x_2 = supports[-3]
    curve = (slope - (x_1 - x_2) / (lambda_1 - lambda_2)) / (lambda_0 - lambda_2)
    slope = slope + (lambda_0 - lambda_1) * curve
    first = 1 - gain / z
    return first * h * slope - curvature * (first / z - 0.5) * h**2 * curve
