"""Names, warnings and lines of results."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch

from dmtool.config.compose import composed
from dmtool.errors import UserError
from dmtool.measure import compare, lines
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.measures import MEASURES, RETRIEVAL, Sets, check, measure
from dmtool.measure.record import result, title

random = np.random.default_rng(0)
ALL = list(MEASURES)


@pytest.mark.parametrize(
    ("metric", "measure", "expected"),
    [
        ("FD-EffNetLite0@224", "KID", "KID-EffNetLite0@224[N=9]"),
        ("FD-EffNetLite0@224", "IS", "IS-EffNetLite0@224[N=9]"),
        ("FID[tf1]", "{}", "FID[tf1,N=9]"),
        ("FID[clean]", "{}-infinity", "FID-infinity[clean,N=9]"),
        ("CLIP-FD-x@336", "MIND", "CLIP-MIND-x@336[N=9]"),
    ],
)
def test_every_figure_names_its_features_and_its_number(metric, measure, expected):
    assert title(metric, measure, 9) == expected


def without_pictures(dim):
    return FeatureExtractor(
        kind="test", name="FD-test", sha256="0" * 64, dim=dim, protocol={},
        device=torch.device("cpu"), prepare=lambda x: x, network=torch.nn.Identity(),
    )  # fmt: skip


def made(n, m, dim=8):
    extractor = without_pictures(dim)
    fake, real = random.normal(size=(n, dim)) + 0.2, random.normal(size=(m, dim))
    figures = {"all": measure(Sets(fake, real, 0, fake), ALL)}
    return result(extractor, figures, ALL, {"seed": 0})


def test_a_result_of_all_measures_is_json_with_all_protocols():
    found = made(60, 150)
    assert json.loads(json.dumps(found)) == found
    assert list(found["protocol"]["measures"]) == ALL
    assert found["n_fake"] == 60 and found["n_real"] == 150 and not found["n_below_dim"]
    text = lines.text(found)
    for words in ("FD-test[N=60] ", " ± ", "FD-infinity-test[N=60]", "KID-test[N=60]", "coverage",
                  "MIND-test[N=60]", "CMMD-test[N=60]", "IS-test[N=60]",
                  "; floors: disjoint sample ", "provisional: 60 pictures"):  # fmt: skip
        assert words in text
    assert "no more than" not in text and "too few" not in text


def test_both_floors_are_said_the_true_pictures_first():
    real = random.normal(size=(90, 8))
    sets = Sets(real[:30] + 0.2, real, 0, true=real[:30])
    found = result(
        without_pictures(8), {"all": measure(sets, ["fd", "floor"])}, ["fd", "floor"], {}
    )
    floor = found["figures"]["all"]["floor"]
    true, disjoint = floor["true_pictures"]["fd"], floor["disjoint_sample"]["fd"]
    assert f"; floors: true pictures {true:.2f}, disjoint sample {disjoint:.2f}" in lines.text(
        found
    )
    assert 0 < true < disjoint


def test_results_with_one_floor_are_shown_and_compared_with_those_of_two():
    new, older = made(60, 150), deepcopy(made(60, 150))
    one = older["figures"]["all"]["floor"]["disjoint_sample"]
    older["figures"]["all"]["floor"] = one | {"how": "disjoint real sample"}
    older["protocol"]["measures"]["floor"] = {"sample": "as many real pictures against the rest"}
    compare.check("fid-train", [older, new], force=False)
    both = compare.together({"older": older, "new": new}, "all")
    place = both.head.index("floor.disjoint_sample.fd")
    cells = [row[place] for row in both.rows]
    assert cells[0] == compare.cell(one["fd"]) and "–" not in cells
    assert "floor.disjoint_sample.how" in compare.table(older).head
    older["protocol"]["measures"]["kid"]["size"] = 7
    with pytest.raises(UserError, match=r"measures.kid.size: 7 / 1,000"):
        compare.check("fid-train", [older, new], force=False)


def test_few_pictures_are_said_to_be_few():
    found = made(5, 8)
    warned = "\n".join(found["warnings"])
    assert found["n_below_dim"] and "5 pictures are no more than the 8 features" in warned
    assert "too few for manifold, infinity, inception_score" in warned
    assert "too few real pictures for a disjoint sample: twice 5" in warned
    assert all(f"warning: {line}" in lines.text(found) for line in found["warnings"])


def test_a_measure_of_what_an_extractor_does_not_have_is_refused_before_any_work():
    extractor = without_pictures(8)
    check(extractor, ["fd", "kid", "mind"])
    with pytest.raises(UserError, match="CMMD is a distance of CLIP's features"):
        check(extractor, ["fd", "cmmd"])
    with pytest.raises(UserError, match="no classifier"):
        check(extractor, ["inception_score"])


def test_the_config_offers_what_there_is():
    default = composed("eval_fid").metrics
    assert set(default) <= {*ALL, RETRIEVAL}
