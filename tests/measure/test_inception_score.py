"""The Inception score: closed forms, and scipy's entropies."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from dmtool.measure.distances.inception_score import inception_score

random = np.random.default_rng(0)


def test_sure_and_varied_pictures_score_the_number_of_classes():
    logits = 1e4 * np.tile(np.eye(8), (25, 1))
    assert inception_score(logits, splits=1) == pytest.approx((8, 0))


def test_pictures_that_look_alike_score_1():
    same = np.tile(random.normal(size=(1, 8)), (100, 1))
    assert inception_score(same) == pytest.approx((1, 0))


def test_splits_are_parts_of_shuffled_pictures():
    logits = random.normal(size=(103, 6)) * 3
    p = softmax(logits[np.random.RandomState(2020).permutation(103)], axis=1)
    scores = []
    for i in range(10):
        part = p[i * 103 // 10 : (i + 1) * 103 // 10]
        scores.append(np.exp(np.mean([entropy(row, part.mean(0)) for row in part])))
    found = inception_score(logits.astype(np.float64))
    assert found == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-12)


def test_fewer_pictures_than_parts_are_refused():
    with pytest.raises(ValueError, match="10 splits"):
        inception_score(np.ones((9, 4)))
