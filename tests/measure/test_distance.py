"""Distances of many choices, their spread, their floor and their limit, against theory."""

import numpy as np
import pytest

from dmtool.measure.distances import tiles
from dmtool.measure.distances.distance import Against, distance, moments
from dmtool.measure.distances.floor import closed_form, disjoint, floors
from dmtool.measure.distances.frechet import Moments
from dmtool.measure.distances.infinity import infinity
from dmtool.measure.distances.spread import spread

random = np.random.default_rng(0)


@pytest.mark.parametrize(("n", "m"), [(40, 200), (15, 9), (9, 15), (200, 30), (12, 13)])
def test_choices_against_one_reference(monkeypatch, n, m):
    """More and fewer rows than features (12) on either side; a row chosen twice counts twice."""
    fake, real = random.normal(size=(n, 12)) + 1, random.normal(size=(m, 12)) * 2
    monkeypatch.setattr(tiles, "SIDE", 7)
    against, chosen = Against(fake, real), random.integers(0, n, n)
    assert against(chosen) == pytest.approx(distance(fake[chosen], real).distance, rel=1e-6)
    assert against(np.arange(n)) == pytest.approx(distance(fake, real).distance, rel=1e-6)


def test_moments_by_blocks_are_those_of_all(monkeypatch):
    rows = (random.normal(size=(23, 3)) + 1e3).astype(np.float32)
    monkeypatch.setattr(tiles, "SIDE", 5)
    found = moments(rows)
    np.testing.assert_allclose(found.covariance, np.cov(rows.T.astype(float)), 1e-10)
    assert found.n == 23


def test_the_spread_is_that_of_new_samples():
    """One Gaussian feature: FD = (a - b)^2 + (s - t)^2, by the delta method of variance
    (2 (a - b) s)^2 / n + (2 (s - t))^2 s^2 / (2 n)."""
    n, a, s = 2000, 1.0, 1.5
    real = random.normal(size=(50_000, 1))
    expected = np.sqrt((2 * a * s) ** 2 / n + (2 * (s - 1)) ** 2 * s**2 / (2 * n))
    found = [spread(random.normal(a, s, (n, 1)), real, seed, 100) for seed in range(4)]
    assert np.mean(found) == pytest.approx(expected, rel=0.12)
    fake = random.normal(size=(50, 1))
    assert spread(fake, real, 3) == spread(fake, real, 3) != spread(fake, real, 4)


def test_the_limit_of_many_pictures_is_found():
    """Gaussians of 16 features 0.5 apart: 0.25, which 400 of one raise by (16 + 136 / 2) / 400."""
    real = random.normal(size=(100_000, 16))
    fake = random.normal(size=(60, 400, 16)) + 0.125
    limits = [infinity(each, real, 0) for each in fake]
    plain = np.mean([distance(each, real).distance for each in fake])
    assert plain == pytest.approx(0.25 + 0.21, rel=0.08)
    assert np.mean([limit.distance for limit in limits]) == pytest.approx(0.25, rel=0.12)
    assert np.mean([limit.slope for limit in limits]) == pytest.approx(84, rel=0.12)
    assert limits[0].sizes[0] == 200 and limits[0].sizes[-1] == 400 and len(limits[0].sizes) == 15
    with pytest.raises(ValueError, match="at least 30 pictures"):
        infinity(fake[0, :29], real, 0)


def gaussian(count, values):
    return random.normal(size=(count, len(values))) * np.sqrt(values)


def test_the_floor_of_two_samples_is_what_theory_says_of_two_samples_of_one_gaussian():
    """(1/n + 1/m) (sum l_i + 1/2 sum_ij l_i l_j (1 + d_ij) / (l_i + l_j)) for n, m >> d."""
    values = np.arange(1.0, 9.0)
    real = gaussian(6000, values)
    pairs = values[:, None] * values / (values[:, None] + values) * (1 + np.eye(8))
    expected = (1 / 2000 + 1 / 4000) * (values.sum() + pairs.sum() / 2)
    found = [disjoint(real, 2000, seed) for seed in range(40)]
    assert np.mean([each["fd"] for each in found]) == pytest.approx(expected, rel=0.15)
    assert found[0]["n_fake"] == 2000 and found[0]["n_real"] == 4000
    assert disjoint(real, 2000, 0) == found[0] != found[1]
    exact = Moments(4000, np.zeros(8), np.diag(values) * 3999)
    assert closed_form(exact, 2000) == pytest.approx(expected, rel=1e-12)


def test_without_as_many_real_pictures_left_the_floor_is_theory_or_nothing():
    real = gaussian(100, np.ones(4))
    found = disjoint(real, 60, 0)
    assert found["how"] == "closed form" and found["n_real"] == 100
    assert found["fd"] == pytest.approx((1 / 60 + 1 / 100) * (4 + 16 / 4 + 4 / 4), rel=0.3)
    assert disjoint(real[:39], 30, 0) is None
    assert disjoint(real, 50, 0)["how"] == "drawn"


def test_the_floor_of_the_true_pictures_is_below_that_of_a_disjoint_sample():
    """n of m in the reference itself: their error and its own go together, so that the expected
    squared distance of the means is tr(A) (1/n - 1/m); of disjoint ones tr(A) (1/n + 1/(m - n)).
    """
    n, m = 500, 1000
    found = []
    for _ in range(60):
        real = random.normal(size=(m, 6))
        chosen = random.permutation(m)[:n]
        found.append(floors(real, n, 0, real[chosen]))
        assert found[-1]["true_pictures"]["fd"] == distance(real[chosen], real).distance
    assert list(found[0]) == ["true_pictures", "disjoint_sample"]
    means, covariances = 6, 6 * 7 / 4
    true = np.mean([each["true_pictures"]["fd"] for each in found])
    other = np.mean([each["disjoint_sample"]["fd"] for each in found])
    assert true == pytest.approx((1 / n - 1 / m) * (means + covariances), rel=0.1)
    assert other == pytest.approx((1 / n + 1 / (m - n)) * (means + covariances), rel=0.1)
    assert list(floors(real, n, 0)) == ["disjoint_sample"]
    assert floors(real, m, 0, real)["true_pictures"]["fd"] == pytest.approx(0, abs=1e-9)
