"""KID and CMMD: known values, brute force over all pairs, and the subsets that others draw."""

import numpy as np
import pytest

from dmtool.measure.distances import tiles
from dmtool.measure.distances.cmmd import cmmd
from dmtool.measure.distances.kid import kid, kid_subsets

random = np.random.default_rng(0)


def cubic(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def brute(x, y):
    """Means over pairs of different rows and over all pairs across, one by one."""
    a, b = cubic(x, x), cubic(y, y)
    own = [k[~np.eye(len(k), dtype=bool)].mean() for k in (a, b)]
    return sum(own) - 2 * cubic(x, y).mean()


def test_the_unbiased_estimate_and_no_other():
    """By hand; 2.9375 with the diagonals, 2.375 without the cross diagonal."""
    x, y = [[0, 0], [1, 0]], [[0, 1], [1, 1]]
    assert kid(x, y) == pytest.approx(1.1875, abs=1e-15)


@pytest.mark.parametrize("side", [1, 7, 50])
def test_tiles_change_nothing(monkeypatch, side):
    x, y = random.normal(size=(30, 5)).astype(np.float32), random.normal(size=(41, 5)) + 1
    monkeypatch.setattr(tiles, "SIDE", side)
    assert kid(x, y) == pytest.approx(brute(x.astype(float), y), rel=1e-12)
    assert kid(x, y) == pytest.approx(kid(y, x), rel=1e-12)


def test_equal_distributions_are_at_no_distance_on_average():
    found = [kid(*random.normal(size=(2, 50, 4))) for _ in range(400)]
    assert min(found) < 0 < max(found)
    assert abs(np.mean(found)) < 4 * np.std(found) / 20


def test_subsets_are_torch_fidelitys():
    """One RandomState, for each subset first the generated rows and then the real ones."""
    x, y = random.normal(size=(40, 6)), random.normal(size=(30, 6)) + 0.5
    draws, values = np.random.RandomState(2020), []
    for _ in range(9):
        ours = x[draws.choice(40, 25, replace=False)]
        values.append(brute(ours, y[draws.choice(30, 25, replace=False)]))
    found = kid_subsets(x, y, subsets=9, size=25)
    assert found == pytest.approx((np.mean(values), np.std(values)), rel=1e-10)
    with pytest.raises(ValueError, match="take the full KID"):
        kid_subsets(x, y, size=30)
    with pytest.raises(ValueError, match="at least 2"):
        kid(x[:1], y)


def test_cmmd_of_embeddings_of_length_one():
    e1, e2 = [[1, 0]], [[0, 1]]
    assert cmmd(e1, [[-3, 0]]) == pytest.approx(39.6026534, abs=1e-7)
    assert cmmd(e1, e2) == pytest.approx(19.9003325, abs=1e-7)
    assert cmmd(e1, [[7, 0]]) == 0


def test_cmmd_counts_the_diagonal(monkeypatch):
    x, y = random.normal(size=(12, 3)), random.normal(size=(9, 3)) + 2
    a, b = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (x, y))

    def mean(p, q):
        return np.mean([np.exp(-((u - v) ** 2).sum() / 200) for u in p for v in q])

    expected = 1000 * (mean(a, a) + mean(b, b) - 2 * mean(a, b))
    monkeypatch.setattr(tiles, "SIDE", 5)
    assert cmmd(x, y) == pytest.approx(expected, rel=1e-9)
