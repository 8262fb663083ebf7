"""Gaussian data, whose denoiser and trajectories have closed forms, and configs of samplers."""

from functools import cache

import torch
from omegaconf import OmegaConf

from dmtool.config.compose import composed
from dmtool.config.using import SampleConfig
from dmtool.config.validation import validate
from dmtool.diffusion.denoise import expand
from dmtool.diffusion.noise import schedule

MEAN, STD = 0.3, 0.5


class Gaussian:
    """E[x_0 | x_t] of data that are normal(MEAN, STD) in each value."""

    def __init__(self, kind):
        self.schedule = schedule(kind)

    def __call__(self, x_t, t, cond=None):
        alpha, sigma = (expand(each, x_t) for each in self.schedule(t))
        variance = alpha**2 * STD**2 + sigma**2
        return MEAN + alpha * STD**2 / variance * (x_t - alpha * MEAN)

    def state(self, z, t):
        """Where the probability flow takes the standard normal z: x_t = mean(t) + std(t) z."""
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=torch.float64))
        return alpha * MEAN + (alpha**2 * STD**2 + sigma**2).sqrt() * z


@cache
def config(kind, *words):
    """The sampler that `sampler=KIND WORDS` means on the command line."""
    whole = _composed(f"sampler={kind}").copy()
    for word in words:
        key, _, value = word.partition("=")
        if key in ("sampler/grid", "sampler/threshold"):
            part = key.partition("/")[2]
            whole.sampler[part] = _composed(word).sampler[part]
        else:
            OmegaConf.update(whole, key, OmegaConf.create(f"x: {value}").x, force_add=True)
    return validate(whole, SampleConfig).sampler


@cache
def _composed(word):
    return composed("sample", [word])


def grid_config(kind, *words):
    return config("euler", f"sampler/grid={kind}", *words).grid


def no_noise(x):
    raise AssertionError("a deterministic sampler drew noise")
