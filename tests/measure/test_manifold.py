"""Precision, recall, density and coverage against their definitions, pair by pair."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dmtool.measure.distances import tiles
from dmtool.measure.distances.manifold import manifold
from dmtool.measure.distances.tiles import nearest, squared_distances

random = np.random.default_rng(0)


def radii(x, k):
    return np.sort(cdist(x, x), axis=1)[:, k]  # column 0 is the row itself


def brute(fake, real, k, k_density):
    between = cdist(fake, real)
    precision = np.mean([any(row <= radii(real, k)) for row in between])
    recall = np.mean([any(column <= radii(fake, k)) for column in between.T])
    within = between < radii(real, k_density)
    coverage = np.mean(between.min(0) < radii(real, k_density))
    return precision, recall, within.sum() / (k_density * len(fake)), coverage


def test_on_a_line():
    real, fake = [[0], [1], [2], [3]], [[0.5], [10]]
    assert manifold(fake, real, 1, 1) == (0.5, 1, 1, 0.5)


@pytest.mark.parametrize("side", [1, 16, 1000])
@pytest.mark.parametrize(("k", "k_density"), [(3, 5), (4, 2)])
def test_tiles_change_nothing(monkeypatch, side, k, k_density):
    fake, real = random.normal(size=(60, 2)) * 0.7 + 0.8, random.normal(size=(45, 2))
    monkeypatch.setattr(tiles, "SIDE", side)
    assert manifold(fake, real, k, k_density) == brute(fake, real, k, k_density)


def test_generated_and_real_swapped_swap_precision_and_recall():
    fake, real = random.normal(size=(50, 3)), random.normal(size=(50, 3)) * 3
    there, back = manifold(fake, real), manifold(real, fake)
    assert there.precision > there.recall + 0.3
    assert (there.precision, there.recall) == (back.recall, back.precision)


def test_the_border_belongs_to_precision_and_not_to_density():
    real = np.arange(4.0)[:, None]
    found = manifold([[4.0], [5.0]], real, 1, 1)
    assert found.precision == 0.5 and found.density == found.coverage == 0


def test_one_picture_repeated():
    """Far from the origin too: copies are at no distance at all, so their balls are empty."""
    real = np.repeat(random.normal(size=(1, 300)) + 1e3, 8, axis=0).astype(np.float32)
    assert manifold(real, real) == (1, 1, 0, 0)
    other = manifold(real + 1, real)
    assert other == (0, 0, 0, 0)


def test_neighbours_of_each_row_are_others():
    x = random.normal(size=(20, 3))
    np.testing.assert_allclose(nearest(x, 4), np.sort(cdist(x, x), axis=1)[:, 1:5] ** 2)
    with pytest.raises(ValueError, match="more than 5 pictures, not 5"):
        nearest(x[:5], 5)


def test_distances_of_equal_rows_are_0_and_no_others():
    x = (random.normal(size=(9, 64)) + 100).astype(np.float32)
    close = x + np.float32(1e-3)
    assert (np.diag(squared_distances(x, x.copy())) == 0).all()
    np.testing.assert_allclose(squared_distances(close, x), cdist(close, x, "sqeuclidean"), 1e-4)
