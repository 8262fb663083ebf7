"""Thresholding: estimates of the clean picture are brought back to what pictures can be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from dmtool.cond import Cond
from dmtool.config.sampling import Sampler
from dmtool.config.threshold import AutoThreshold, DynamicThreshold, NoThreshold, StaticThreshold
from dmtool.diffusion.denoise import Denoise, Estimate, Estimating, estimate
from dmtool.diffusion.noise import Schedule
from dmtool.errors import UserError


def settled(config: Sampler, *, pictures: bool) -> Sampler:
    """The config with what `auto` stands for: static where pictures are sampled, else none.

    UserError for another threshold of latents, which have no range.
    """
    match config.threshold:
        case AutoThreshold() if pictures:
            return replace(config, threshold=StaticThreshold(kind="static"))
        case AutoThreshold():
            return replace(config, threshold=NoThreshold(kind="none"))
        case StaticThreshold() | DynamicThreshold() if not pictures:
            raise UserError(
                f"sampler/threshold={config.threshold.kind} is for pictures, whose values lie in "
                "[-1, 1], and this noise predictor makes latents: take sampler/threshold=auto"
            )
    return config


def thresholded(denoiser: Denoise, config: Sampler) -> Denoise:
    """The denoiser, guided or not, with a settled config's threshold around it."""
    match config.threshold:
        case NoThreshold():
            return denoiser
        case StaticThreshold() | DynamicThreshold():
            return Thresholded(denoiser, config.threshold)
    raise AssertionError("whether it samples pictures has not been said")


@dataclass
class Thresholded(Estimating):
    """A denoiser of pictures in [-1, 1] whose estimates of x_0 stay there.

    A learned variance's fraction is passed on.
    """

    denoiser: Denoise
    threshold: StaticThreshold | DynamicThreshold

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def estimate(self, x_t: Tensor, t: Tensor, cond: Cond) -> Estimate:
        x_0, fraction = estimate(self.denoiser, x_t, t, cond)
        if isinstance(self.threshold, StaticThreshold):
            return Estimate(x_0.clamp(-1, 1), fraction)
        bound = math.inf if self.threshold.bound is None else self.threshold.bound
        return Estimate(dynamic(x_0, self.threshold.percentile / 100, bound), fraction)


def dynamic(x_0: Tensor, share: float, bound: float) -> Tensor:
    """x_0 [B, ...] clipped to [-s, s] and divided by s, picture by picture.

    s is the quantile `share` of the picture's absolute values, within [1, bound] (Saharia et al.,
    arXiv:2205.11487, section 2.3).
    """
    s = quantile(x_0.flatten(1).abs(), share).clamp(1, bound)
    s = s.reshape(-1, *[1] * (x_0.dim() - 1))
    return x_0.clamp(-s, s) / s


def quantile(rows: Tensor, share: float) -> Tensor:
    """The quantile of each row [B, n], linear between values: `torch.quantile`, of any size."""
    n = rows.shape[1]
    place = share * (n - 1)
    below = min(math.floor(place), n - 2) if n > 1 else 0
    low, high = (rows.kthvalue(min(k, n - 1) + 1, dim=1).values for k in (below, below + 1))
    return low.lerp(high, place - below)
