"""Noise schedules: t -> (alpha, sigma), and how t is drawn in training.

THE TIME CONVENTION. t is in [0, 1] and noise grows with t: x_t = alpha(t) x_0 + sigma(t) eps. A
discrete model of T steps (DDPM, Stable Diffusion: T = 1000) has its index i at t = (i + 1) / T,
and t = 0 is the clean picture, alpha = 1. Between grid points log alpha-bar is interpolated
linearly. Likewise the first thousandth of the variance-exploding path leads from the clean picture
to sigma_min. A network never hears t itself but `c_noise`, a function of the log-SNR
ln(alpha^2 / sigma^2), so that another grid or a shifted schedule changes nothing in it.
"""

from dmtool.diffusion.noise.continuous import Cosine, Edm, Flow, Schedule, Sigmoid, VpSde, log_snr
from dmtool.diffusion.noise.discrete import Betas, T, ZeroTerminal, ddpm_betas, sd_betas
from dmtool.diffusion.noise.kinds import SCHEDULES, c_noise, schedule
from dmtool.diffusion.noise.posterior import Posterior, posterior
from dmtool.diffusion.noise.shift import exponential_shift, sqrt_shift
from dmtool.diffusion.noise.times import log_normal, logit_normal, mode, stratify, uniform

__all__ = [
    "SCHEDULES",
    "Betas",
    "Cosine",
    "Edm",
    "Flow",
    "Posterior",
    "Schedule",
    "Sigmoid",
    "T",
    "VpSde",
    "ZeroTerminal",
    "c_noise",
    "ddpm_betas",
    "exponential_shift",
    "log_normal",
    "log_snr",
    "logit_normal",
    "mode",
    "posterior",
    "schedule",
    "sd_betas",
    "sqrt_shift",
    "stratify",
    "uniform",
]
