"""The sliced Wasserstein distance: Gaussians' closed form, scipy's transport, torch's draws."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from dmtool.measure.distances.mind import mind

random = np.random.default_rng(0)


def test_two_gaussians():
    """E_u W2^2 = |shift|^2 / d + (s - 1)^2 for N(0, I) and N(shift, s^2 I); equal sets: 0."""
    x, shift = random.normal(size=(4000, 4)), np.array([1.0, 0, -2, 0])
    y = 1.5 * random.permutation(x) + shift
    assert mind(x, x[::-1]) == 0
    assert mind(x, y, directions=8000) == pytest.approx(3 * 4 * (5 / 4 + 0.25), rel=0.04)


def test_each_direction_is_optimal_transport_on_torch_fidelitys_draws():
    """The larger set is thinned first, then all directions are drawn, by one generator."""
    x, y = random.normal(size=(30, 3)), random.normal(size=(12, 3)) + 1
    draws = torch.Generator().manual_seed(2020)
    kept = x[torch.randperm(30, generator=draws)[:12].numpy()]
    along = torch.randn(70, 3, generator=draws).double().numpy()
    costs = []
    for u in along / np.linalg.norm(along, axis=1)[:, None]:
        squares = ((kept @ u)[:, None] - y @ u) ** 2
        costs.append(squares[linear_sum_assignment(squares)].mean())
    assert mind(x, y, directions=70) == pytest.approx(9 * np.mean(costs), rel=1e-10)
    assert mind(y, x, directions=70) == pytest.approx(9 * np.mean(costs), rel=1e-10)
