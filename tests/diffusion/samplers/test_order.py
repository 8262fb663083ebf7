"""The order of convergence of every deterministic sampler, against the exact flow of a mixture."""

import math
from functools import partial

import pytest
import torch
from exact import Mixture
from gaussian import no_noise

from dmtool.cond import Cond
from dmtool.diffusion.samplers import Bound, ddim, dpm_solver, euler, heun, last, plms, unipc

ORDERS = {
    "euler": (euler, 1),
    "ddim": (partial(ddim, eta=0.0), 1),
    "heun": (heun, 2),
    "dpmpp_2m": (partial(dpm_solver, order=2), 2),
    "dpmpp_3m": (partial(dpm_solver, order=3), 2),  # as published
    "taylor_3m": (partial(dpm_solver, order=3, curvature=2), 3),
    "unipc": (partial(unipc, order=2), 3),
    "unipc_3": (partial(unipc, order=3), 4),
    "plms": (plms, 4),
}
Z = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(3, 3)


def error(sampler, denoiser, visited):
    start, end = visited[0].item(), visited[-1].item()
    found = last(
        sampler(Bound(denoiser, Cond()), denoiser.state(Z, start), visited, noise=no_noise)
    )
    return (found - denoiser.state(Z, end)).abs().max().item()


def evenly(steps, schedule, order):
    """Equal intervals of log-SNR; of a multi-step method the first ones, for which it has too few
    estimates, are as short as makes their lower order not count."""
    h = 6 / steps
    places = [0.0]
    for length in (h**order, h ** (order / 2)) if order > 2 else ():
        places.append(places[-1] + length)
    rest = torch.linspace(places[-1], 6, steps + 1, dtype=torch.float64)
    return schedule.time(-3 + torch.cat([torch.tensor(places[:-1]).double(), rest]))


@pytest.mark.parametrize("kind", ["flow", "cosine", "scaled_linear"])
@pytest.mark.parametrize("name", ORDERS)
def test_order_of_convergence(name, kind):
    (sampler, order), denoiser = ORDERS[name], Mixture(kind)
    if name == "plms" and kind == "scaled_linear":
        order = 2  # that of its transfer over sigma / alpha
    fewest = {1: 100, 2: 150, 3: 200, 4: 300}[order]
    grids = [evenly(steps, denoiser.schedule, order) for steps in (fewest, 2 * fewest)]
    errors = [error(sampler, denoiser, visited) for visited in grids]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, rel=0.05)
