"""The Fréchet distance against closed forms, scipy's sqrtm and numpy's covariance."""

import tracemalloc

import numpy as np
import pytest
from scipy.linalg import sqrtm

from dmtool.measure.distances.distance import distance
from dmtool.measure.distances.frechet import Moments, frechet_distance, frechet_distance_low_rank


def gaussian(mean, covariance, n=11):
    return Moments(n, np.asarray(mean, float), np.asarray(covariance, float) * (n - 1))


def by_sqrtm(x, y):
    a, b = np.cov(x.T), np.cov(y.T)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)


def test_scaled_gaussians_in_any_rotation():
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    shift = np.array([1.0, 0, 0, 0])
    for turn in (np.eye(4), rotation):
        a, b = gaussian(np.zeros(4), np.eye(4)), gaussian(turn @ shift, turn @ turn.T * 4)
        assert frechet_distance(a, b) == pytest.approx((5, 1, 4), abs=1e-12)


def test_two_by_two():
    a, b = gaussian([0, 0], [[2, 1], [1, 2]]), gaussian([0, 0], np.diag([1, 3]))
    assert frechet_distance(a, b).distance == pytest.approx(8 - 2 * 14**0.5, abs=1e-12)


def test_means_apart_in_2048_dimensions():
    a, b = gaussian(np.zeros(2048), np.eye(2048)), gaussian(np.ones(2048), np.eye(2048))
    assert frechet_distance(a, b).distance == pytest.approx(2048, abs=1e-8)


def test_singular_covariances_whose_plain_eigenvalues_give_nan():
    random = np.random.RandomState(1)
    x, y = random.randn(4, 4), random.randn(4, 4)
    assert frechet_distance(Moments.of(x), Moments.of(y)).distance == pytest.approx(4.753837617472)
    assert frechet_distance_low_rank(x, Moments.of(y)).distance == pytest.approx(4.753837617472)


def test_agrees_with_sqrtm_at_full_rank():
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 48)) @ random.normal(size=(48, 48))
    y = random.normal(size=(300, 48)) @ random.normal(size=(48, 48)) + 3
    found = frechet_distance(Moments.of(x), Moments.of(y))
    assert found.distance == pytest.approx(by_sqrtm(x, y), rel=1e-9)
    assert found.distance == found.mean_term + found.cov_term


@pytest.mark.parametrize(("n", "times"), [(30, 1), (500, 1), (20, 5)])
def test_low_rank_is_the_same_distance(n, times):
    """Fewer and more rows than features; copies are directions of no variance."""
    random = np.random.default_rng(0)
    x = np.tile(random.normal(size=(n, 128)) * 1.5, (times, 1))
    y = random.normal(size=(400, 128)) @ random.normal(size=(128, 128)) / 10
    symmetric = frechet_distance(Moments.of(x), Moments.of(y))
    low = frechet_distance_low_rank(x, Moments.of(y))
    assert low == pytest.approx(symmetric, rel=1e-9)
    assert low.distance == pytest.approx(by_nuclear_norm(x, y), rel=1e-9)
    assert frechet_distance(Moments.of(y), Moments.of(x)) == pytest.approx(symmetric, rel=1e-6)


@pytest.mark.parametrize("rows", [20, 200])
def test_a_set_is_at_no_distance_from_itself(rows):
    x = np.random.default_rng(0).normal(size=(rows, 64)) + 100
    assert 0 <= frechet_distance(Moments.of(x), Moments.of(x)).distance < 1e-9
    assert 0 <= frechet_distance_low_rank(x, Moments.of(x)).distance < 1e-9


def by_nuclear_norm(x, y):
    """tr (A B)^(1/2) is the nuclear norm of Xc Yc' over the roots of n - 1 and m - 1."""
    centred = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (x, y)]
    nuclear = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    mean_term = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return mean_term + sum((each**2).sum() for each in centred) - 2 * nuclear


def test_nothing_of_the_size_of_the_larger_set_is_held():
    """20,000 rows against 200 of 256 features: their product alone would be 32 MB."""
    random = np.random.default_rng(0)
    x, y = (random.normal(size=(n, 256)).astype(np.float32) for n in (200, 20_000))
    tracemalloc.start()
    distance(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24e6


@pytest.mark.parametrize("shards", [1, 3, 7])
@pytest.mark.parametrize("offset", [0, 1e4])
def test_shards_merge_to_the_whole(shards, offset):
    x = np.random.default_rng(0).normal(size=(500, 20)) + offset
    total = Moments.empty(20)
    for shard in np.array_split(x, shards):
        part = Moments.empty(20)
        for batch in np.array_split(shard, 4):
            part.update(batch)
        total.merge(part)
    assert total.n == 500
    np.testing.assert_allclose(total.mean, x.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(total.covariance, np.cov(x.T), rtol=0, atol=1e-12)


def test_refusals():
    one, two = Moments.of(np.ones((1, 3))), Moments.of(np.eye(3))
    with pytest.raises(ValueError, match="at least 2 rows, not 1"):
        frechet_distance(one, two)
    with pytest.raises(ValueError, match="at least 2 rows, not 1"):
        frechet_distance_low_rank(np.ones((1, 3)), two)
    with pytest.raises(ValueError, match="3 features do not compare with 4"):
        frechet_distance(two, Moments.of(np.eye(4)))
    with pytest.raises(ValueError, match="finite"):
        Moments.of(np.array([[1.0, np.nan]]))
