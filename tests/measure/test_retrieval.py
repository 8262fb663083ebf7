"""Retrieval on planted data, and the figures of generated pictures."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dmtool.measure.alignment.retrieval import groups, recall, retrieval
from dmtool.measure.distances import tiles
from dmtool.measure.distances.distance import distance
from dmtool.measure.distances.kid import kid
from dmtool.measure.distances.lot import Lot
from dmtool.measure.distances.manifold import manifold
from dmtool.measure.generated import Reference, evaluate


def planted(n=40, gallery=200, dim=16, noise=0.0):
    random = np.random.default_rng(0)
    real = random.normal(size=(gallery, dim)) + 5
    truth = random.permutation(gallery)[:n]
    return real[truth] + noise * random.normal(size=(n, dim)), real, truth


def test_the_true_pictures_themselves_come_first():
    fake, real, truth = planted()
    assert recall(retrieval(fake, real, truth), 1) == 1
    assert recall(retrieval(fake, real, (truth + 1) % 200), 1) == 0


def test_ranks_are_those_of_sorted_cosines():
    fake, real, truth = planted(noise=1.5)
    centre = real.mean(0)
    distances = cdist(fake - centre, real - centre, "cosine")
    place = [list(np.argsort(row)).index(t) for row, t in zip(distances, truth, strict=True)]
    ranks = retrieval(fake, real, truth)
    assert ranks.nearer.tolist() == place and set(ranks.tied) == {1}
    assert recall(ranks, 10) == np.mean(np.array(place) < 10) < 1


def test_the_length_of_features_and_a_common_shift_change_nothing():
    fake, real, truth = planted(noise=1.0)
    centre = real.mean(0)
    moved = retrieval((fake - centre) * 3 + 7, (real - centre) * 0.1 + 7, truth)
    assert moved.nearer.tolist() == retrieval(fake, real, truth).nearer.tolist()


def test_pictures_that_nothing_tells_apart_share_their_hits():
    fake, real, truth = planted()
    twice = np.concatenate([real, real])
    assert recall(retrieval(fake, twice, truth), 1) == 0.5
    assert recall(retrieval(fake, twice, truth), 2) == 1
    collapsed = np.repeat(real.mean(0)[None], len(fake), axis=0)
    assert recall(retrieval(collapsed, real, truth), 10) == pytest.approx(10 / 200)


@pytest.mark.parametrize(
    ("fake", "truth", "message"),
    [
        (np.ones((2, 3)), [0, 1], "do not compare"),
        (np.ones((2, 4)), [0], "need as many"),
        (np.ones((2, 4)), [0, 9], "not one of number"),
        (np.full((2, 4), np.nan), [0, 1], "finite"),
    ],
)
def test_what_does_not_fit_is_refused(fake, truth, message):
    with pytest.raises(ValueError, match=message):
        retrieval(fake, np.ones((5, 4)), truth)


def test_groups_that_tell_nothing_apart_are_left_out():
    assert groups(["a cat", "a dog"]) == {}
    assert groups(["man dark skin tone"]) == {}
    found = groups(["man dark skin tone", "red heart"])
    assert found["without_skin_tone"].tolist() == [False, True]


def test_figures_of_a_perfect_generator():
    fake, real, truth = planted(n=200)
    captions = [f"{i} dark skin tone" if i % 4 == 0 else str(i) for i in range(200)]
    result = evaluate(fake, Reference(real, captions), truth, ["fd", "retrieval"], 0)
    for name, count in {"all": 200, "without_skin_tone": 150}.items():
        figures = result[name]
        assert figures["n_fake"] == figures["n_real"] == count
        assert figures["fd"] == pytest.approx(0, abs=1e-9)
        assert figures["r@1"] == figures["r@10"] == figures["ceiling"]["r@1"] == 1


def test_groups_are_those_of_the_true_pictures_captions():
    fake, real, truth = planted(n=10, noise=0.01)
    captions = ["x skin tone"] * 200
    captions[truth[3]] = captions[truth[5]] = "x"
    fake[5] = -fake[5]
    figures = evaluate(fake, Reference(real, captions), truth, ["retrieval"], 0)[
        "without_skin_tone"
    ]
    assert figures["n_fake"] == figures["n_real"] == 2 and figures["r@1"] == 0.5


def test_what_is_wanted_is_measured_on_each_groups_own_pictures():
    fake, real, truth = planted(n=60, noise=0.5)
    captions = [f"{i} skin tone" if i % 3 else str(i) for i in range(200)]
    found = evaluate(fake, Reference(real, captions), truth, ["kid", "manifold", "infinity"], 0)
    rows, members = truth % 3 == 0, np.arange(200) % 3 == 0
    group = found["without_skin_tone"]
    assert group["kid"] == kid(fake[rows], real[members]) != found["all"]["kid"]
    assert group["coverage"] == manifold(fake[rows], real[members]).coverage
    assert "infinity" in found["all"] and "infinity" not in group  # fewer than 30 pictures
    assert not {"fd", "r@1", "kid_subsets"} & set(group) and rows.sum() < 30


def test_a_groups_floor_is_of_its_own_true_pictures():
    fake, real, truth = planted(n=60, noise=0.5)
    captions = [f"{i} skin tone" if i % 3 else str(i) for i in range(200)]
    found = evaluate(fake, Reference(real, captions), truth, ["fd", "floor"], 0)
    rows, members = truth % 3 == 0, np.arange(200) % 3 == 0
    floor = found["without_skin_tone"]["floor"]["true_pictures"]
    assert floor["fd"] == distance(real[truth[rows]], real[members]).distance
    floor = found["all"]["floor"]
    assert floor["true_pictures"]["fd"] == distance(real[truth], real).distance


def test_who_is_drawn_hangs_on_key_and_seed_alone():
    fake, real, truth = planted(n=60, noise=0.5)
    captions = [f"{i} skin tone" if i % 2 else str(i) for i in range(200)]
    keys = [f"{i}.png" for i in range(200)]
    lot = Lot(keys, 50, 0)
    drawn = set(lot(np.arange(200)).tolist())
    assert len(drawn) == 50 and drawn != set(Lot(keys, 50, 1)(np.arange(200)).tolist())
    assert 10 < len(drawn & set(range(100))) < 40
    back = Lot(keys[::-1], 50, 0)(np.arange(200))
    assert {199 - row for row in back.tolist()} == drawn
    half = np.arange(0, 200, 2)
    assert drawn & set(half.tolist()) <= set(lot(half).tolist()), "the same ones first in a group"
    found = evaluate(fake, Reference(real, captions, lot), truth, ["kid", "retrieval"], 0)
    assert found["all"]["kid"] == kid(fake, real[sorted(drawn)])
    assert found["all"]["n_real_drawn"] == 50 == found["without_skin_tone"]["n_real_drawn"]
    whole = evaluate(fake, Reference(real, captions), truth, ["kid", "retrieval"], 0)
    assert whole["all"]["r@1"] == found["all"]["r@1"]
    most = Reference(real, captions, Lot(keys, 200, 0))
    assert evaluate(fake, most, truth, ["kid", "retrieval"], 0) == whole


def test_tiles_change_no_rank(monkeypatch):
    fake, real, truth = planted(noise=1.5)
    whole = retrieval(fake, real, truth)
    monkeypatch.setattr(tiles, "SIDE", 7)
    parts = retrieval(fake, real, truth)
    assert (parts.nearer == whole.nearer).all() and (parts.tied == whole.tied).all()
