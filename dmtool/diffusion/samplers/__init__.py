"""Samplers: generators over (denoiser, x, times, *, noise), each a few lines of its paper.

The denoiser has its condition bound beforehand: (x_t, t) -> x_0. `times` are explicit, [N + 1],
so N intervals; `noise(x)` draws standard normal noise of x's shape. Each step yields a `Step`.
All formulas hold for any schedule (alpha, sigma) and are finite at both its ends. Where times
rise, `euler`, `ddim` with eta = 0 and `heun` follow the probability flow upwards; all others draw
from the forward process, and begin anew below. All take numbers: what a config names is made of
them in `dmtool.diffusion.sampling`.
"""

from dmtool.diffusion.samplers.base import Bound, Noise, Sample, Step
from dmtool.diffusion.samplers.dpm import dpm_solver
from dmtool.diffusion.samplers.draws import Key, Mix, PictureNoise, Source, picture_noise
from dmtool.diffusion.samplers.first_order import ddim, ddpm, euler, euler_ancestral
from dmtool.diffusion.samplers.grids import Grid, resampled
from dmtool.diffusion.samplers.heun import edm, heun, restart
from dmtool.diffusion.samplers.known import Known
from dmtool.diffusion.samplers.plms import plms
from dmtool.diffusion.samplers.trajectory import last, states
from dmtool.diffusion.samplers.unipc import unipc

__all__ = [
    "Bound",
    "Grid",
    "Key",
    "Known",
    "Mix",
    "Noise",
    "PictureNoise",
    "Sample",
    "Source",
    "Step",
    "ddim",
    "ddpm",
    "dpm_solver",
    "edm",
    "euler",
    "euler_ancestral",
    "heun",
    "last",
    "picture_noise",
    "plms",
    "resampled",
    "restart",
    "states",
    "unipc",
]
