"""Names, warnings and lines of results."""

import json

import numpy as np
import pytest
import torch

from dmtool.evaluate import lines
from dmtool.evaluate.features import FeatureExtractor
from dmtool.evaluate.measures import MEASURES, RETRIEVAL, Sets, measure
from dmtool.evaluate.record import result, title
from dmtool.hydra_main import composed

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


def made(n, m, dim=8):
    extractor = FeatureExtractor(
        kind="test", name="FD-test", sha256="0" * 64, dim=dim, protocol={},
        device=torch.device("cpu"), prepare=lambda x: x, network=torch.nn.Identity(),
    )  # fmt: skip
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
                  "MIND-test[N=60]", "CMMD-test[N=60]", "IS-test[N=60]", "floor",
                  "provisional: 60 pictures"):  # fmt: skip
        assert words in text
    assert "no more than" not in text and "too few" not in text


def test_few_pictures_are_said_to_be_few():
    found = made(5, 8)
    warned = "\n".join(found["warnings"])
    assert found["n_below_dim"] and "5 pictures are no more than the 8 features" in warned
    assert "too few for manifold, infinity, inception_score" in warned
    assert "too few real pictures for a floor: twice 5" in warned
    assert all(f"warning: {line}" in lines.text(found) for line in found["warnings"])


def test_the_config_offers_what_there_is():
    default = composed("eval_fid").metrics
    assert set(default) <= {*ALL, RETRIEVAL}
