"""Neighbours, copies and duplicates against brute force, scipy and planted data."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from dmtool.measure.memory import neighbours
from dmtool.measure.memory.nearness import closest, figures, near_duplicates
from dmtool.measure.memory.neighbours import authentic, closer, duplicates, nearest, nearest_other

random = np.random.default_rng(0)


def sets(samples=23, train=31, dim=6):
    return random.normal(size=(samples, dim)), random.normal(size=(train, dim))


def auth_pct(samples, train):
    return 100 * authentic(nearest(samples, train), nearest_other(train)).mean()


@pytest.fixture(params=[4, 1024])
def block(request, monkeypatch):
    """Blocks that divide the sets, and one that holds them."""
    monkeypatch.setattr(neighbours, "BLOCK", request.param)


def test_neighbours_are_those_of_all_distances(block):
    samples, train = sets()
    distances, among = cdist(samples, train), cdist(train, train)
    np.fill_diagonal(among, np.inf)
    for found, table in ((nearest(samples, train), distances), (nearest_other(train), among)):
        assert found.row.tolist() == table.argmin(1).tolist()
        np.testing.assert_allclose(found.distance, table.min(1), rtol=1e-12)


def test_a_copy_is_at_no_distance_at_all_however_long_the_features():
    train = random.normal(size=(9, 4)) + 1e5
    found = nearest(train[::-1], train)
    assert found.row.tolist() == [*range(9)][::-1] and not found.distance.any()
    some = np.array([7, 2, 2])
    assert nearest_other(train, some).row.tolist() == nearest_other(train).row[some].tolist()
    with pytest.raises(ValueError, match="no nearest"):
        nearest_other(train[:1])


def test_authenticity_is_its_definition(block):
    samples, train = sets(dim=2)
    expected = []
    for sample in samples:  # arXiv:2102.08921: nearer to a real point than that is to any other
        real = min(range(len(train)), key=lambda i: np.linalg.norm(train[i] - sample))
        others = [np.linalg.norm(train[real] - train[i]) for i in range(len(train)) if i != real]
        expected.append(np.linalg.norm(sample - train[real]) > min(others))
    assert 0 < np.sum(expected) < len(samples)
    assert auth_pct(samples, train) == 100 * np.mean(expected)


def test_copies_are_never_authentic_and_far_pictures_always():
    samples, train = sets()
    assert auth_pct(train[:10], train) == 0
    assert auth_pct(train + 1e-6, train) == 0
    assert auth_pct(samples + 100, train) == 100
    twice = np.concatenate([train, train])
    assert auth_pct(train, twice) == 0, "a copy of a picture that is there twice is a copy"


def test_closer_is_mann_and_whitneys_u():
    a, b = random.integers(0, 9, 40), random.integers(3, 12, 25)  # with many ties
    assert closer(a, b) == pytest.approx(mannwhitneyu(b, a).statistic / (40 * 25))
    assert closer([0, 1], [2, 3]) == 1 and closer([2], [1]) == 0 and closer([5, 5], [5]) == 0.5


def test_duplicates_are_all_pairs_above_the_threshold(block):
    rows = random.normal(size=(30, 5))
    rows[20] = 3 * rows[4]
    rows[9] = rows[2] + 0.1 * rows[3]
    rows[29] = 0
    cosines = 1 - cdist(rows[:29], rows[:29], "cosine")
    pairs = [(i, j) for i in range(29) for j in range(i + 1, 29)]
    expected = {pair: cosines[pair] for pair in pairs if cosines[pair] >= 0.7}
    found = duplicates(rows, 0.7, 1000)
    assert {pair[:2]: pair[2] for pair in found.pairs} == pytest.approx(expected)
    assert [pair[2] for pair in found.pairs] == pytest.approx(sorted(expected.values())[::-1])
    assert found.count == len(expected) > 2
    assert set(np.flatnonzero(found.member)) == {row for pair in expected for row in pair}
    few = duplicates(rows, 0.7, 2)
    assert few.pairs == found.pairs[:2] and few.count == found.count
    assert few.pairs[0] == (4, 20, pytest.approx(1))
    assert duplicates(np.eye(8), 0.1, 5).pairs == []


def test_one_picture_repeated_is_its_own_duplicate():
    found = duplicates(np.ones((6, 3)), 0.99, 4)
    assert found.count == 15 and len(found.pairs) == 4 and found.member.all()


def test_figures_of_a_perfect_memory_and_of_new_pictures():
    held_out, train = sets()
    sides = {"samples": train[:12], "held_out": held_out, "train": train}
    found = figures({name: nearest(rows, train) for name, rows in sides.items()}, train)
    assert found["samples"]["auth_pct"] == 0 and found["samples"]["distance"]["q95"] == 0
    assert found["held_out"]["closer"] == 1 and found["train"]["closer"] == 0.5
    assert found["held_out"]["ratio"] == 0 and found["train"]["ratio"] is None
    assert (found["samples"]["n"], found["held_out"]["n"]) == (12, len(held_out))


def test_near_duplicates_are_shares_of_both_sets():
    train = np.concatenate([np.eye(8), [[0, 0, 0, 0, 0, 0, 1, 0.1]]])
    held_out = np.array([np.eye(8)[0] * 2, np.eye(8)[1] + 0.1, np.ones(8), -np.ones(8)])
    found = near_duplicates(train, held_out, 0.95, np.arange(9))
    assert found["train"] == pytest.approx({"near_duplicate": 2 / 9, "same": 0})
    assert found["held_out"] == pytest.approx({"near_duplicate": 2 / 4, "same": 1 / 4})
    some = near_duplicates(train, held_out, 0.95, np.array([0, 6]))["train"]
    assert some == pytest.approx({"near_duplicate": 1 / 2, "same": 0})


def test_the_closest_pairs_name_the_rows_of_the_whole_set():
    train = np.array([[0.0, 0], [10, 0], [0, 10]])
    found = nearest([[0, 3], [9, 0], [1, 9]], train)
    pairs = closest(found, rows=[70, 80, 90], train=[5, 6, 7], count=2)
    assert [(pair.row, pair.near) for pair in pairs] == [(80, 6), (90, 7)]
    assert [pair.distance for pair in pairs] == pytest.approx([1, 2**0.5])
