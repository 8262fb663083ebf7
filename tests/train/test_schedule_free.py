"""Schedule-free AdamW against its paper's recursion, one number at a time."""

import pytest
import torch
from torch import nn

from dmtool.train.optim.schedule_free import ScheduleFree

LR, BETA1, BETA2, EPS, DECAY = 0.05, 0.9, 0.95, 1e-8, 0.1
FACTORS = [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]  # a warm-up
GRADIENTS = [0.3, -1.2, 0.7, 0.1, 2.0, -0.4]


def by_hand(start):
    """(y, x) after each step, by Algorithm 1 of arXiv:2405.15682."""
    z = x = y = start
    v = total = 0.0
    for t, (factor, gradient) in enumerate(zip(FACTORS, GRADIENTS, strict=True), start=1):
        v = BETA2 * v + (1 - BETA2) * gradient**2
        rate = LR * factor * (1 - BETA2**t) ** 0.5
        z -= rate * gradient / (v**0.5 + EPS) + rate * DECAY * y
        total += rate**2
        c = rate**2 / total if total else 1.0
        x = (1 - c) * x + c * z
        y = (1 - BETA1) * z + BETA1 * x
        yield y, x


def test_the_papers_recursion():
    weights = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    group = {"params": [weights]}
    optimizer = ScheduleFree([group], LR, (BETA1, BETA2), EPS, DECAY)
    courses = zip(by_hand(1.0), by_hand(-2.0), strict=True)
    for factor, gradient, expected in zip(FACTORS, GRADIENTS, courses, strict=True):
        weights.grad = torch.full_like(weights, gradient)
        optimizer.param_groups[0]["lr"] = LR * factor
        optimizer.step()
        points, averages = zip(*expected, strict=True)
        assert weights.tolist() == pytest.approx(points, rel=1e-12)
        with optimizer.averaged():
            assert weights.tolist() == pytest.approx(averages, rel=1e-12)
        assert weights.tolist() == pytest.approx(points, rel=1e-12)


def test_looking_at_the_average_changes_no_bit():
    torch.manual_seed(0)
    weights = nn.Parameter(torch.randn(50))
    optimizer = ScheduleFree([{"params": [weights]}], LR, (BETA1, BETA2), EPS, DECAY)
    with optimizer.averaged():  # before the first step there is none
        pass
    for _ in range(3):
        weights.grad = torch.randn(50)
        optimizer.step()
    before = weights.detach().clone()
    with pytest.raises(RuntimeError), optimizer.averaged():
        assert not torch.equal(weights, before)
        raise RuntimeError
    assert torch.equal(weights, before)
