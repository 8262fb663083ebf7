"""Sweeps: the combinations that words stand for, the front, and what is measured only once."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from cards import PREDICTOR, UPSAMPLER

from dmtool import runs
from dmtool.config.compose import composed
from dmtool.config.using import Defaults, EvalFid
from dmtool.config.validation import validate
from dmtool.errors import UserError
from dmtool.measure.sweep import sweep
from dmtool.measure.sweep.choices import combinations
from dmtool.measure.sweep.front import front
from dmtool.runs import defaults


def test_words_with_several_values_are_every_combination():
    words = ["run=a,b", "count=10", "guidance.scale=1,2.5,3", "sampler/grid=uniform"]
    found = combinations(words)
    expected = [
        [f"run={r}", "count=10", f"guidance.scale={g}", "sampler/grid=uniform"]
        for r, g in product("ab", ("1", "2.5", "3"))
    ]
    assert [each.words for each in found] == expected
    assert found[1].chosen == ["run=a", "guidance.scale=2.5"] and found[1].curve == "run=a"
    assert [each.words for each in combinations(["seed=range(0,3)"])] == [
        ["seed=0"], ["seed=1"], ["seed=2"],
    ]  # fmt: skip
    with pytest.raises(UserError, match="several values"):
        combinations(["run=a"])
    with pytest.raises(UserError, match="cannot read"):
        combinations(["run=a,b", "guidance.scale=[1,"])


def test_no_point_beats_one_on_the_front_and_some_point_there_beats_each_other():
    points = np.random.default_rng(0).normal(size=(60, 2)).round(1)  # with equal values among them
    quality, alignment = points.T
    on_front = front(quality, alignment)

    def better(a, b):
        return bool((quality[a] < quality[b] or alignment[a] > alignment[b])
                    and quality[a] <= quality[b] and alignment[a] >= alignment[b])  # fmt: skip

    everyone = range(len(points))
    for i in everyone:
        beaten = [j for j in everyone if better(j, i)]
        assert on_front[i] == (not beaten)
        assert on_front[i] or any(on_front[j] for j in beaten)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A run whose figures are a formula of guidance, and the settings that were measured."""
    runs.save(tmp_path / "r/unet/artifacts/default", {}, PREDICTOR)
    seen = []

    def measure(config, group):
        g = config.guidance.scale
        seen.append(g)
        figures = {"all": {"fd": (g - 2) ** 2 + 10, "r@1": g / 10}}
        return {"metric": "FD", "n_fake": config.count, "settings": {"g": g}, "figures": figures}

    monkeypatch.setattr(sweep.fid, "measure", measure)
    return tmp_path, seen


def test_each_setting_is_measured_once_and_the_best_is_kept(measured):
    root, seen = measured
    words, axes = ["run=r", f"root={root}", "sampler=heun"], sweep.Axes("all", "fd", "r@1")
    sweep.sweep([*words, "guidance.scale=1,2"], axes, False, None)
    sweep.sweep([*words, "guidance.scale=1,2,3"], axes, True, None)
    assert seen == [1, 2, 3]
    written = json.loads((root / "r/eval/sweep.json").read_text())
    fronts = {name: each["front"] for name, each in written["figures"].items()}
    assert fronts == {"guidance.scale=1": False, "guidance.scale=2": True, "guidance.scale=3": True}
    kept = defaults.read(runs.find("r", "unet", root))
    best = validate(composed("eval_fid", ["sampler=heun", "guidance.scale=2"]), EvalFid)
    assert kept.settings == Defaults(sampler=best.sampler, guidance=best.guidance, upsample=None)
    assert kept.found["quality"] == 10
    sweep.sweep([f"root={root}", "run=r", "guidance.scale=1.5,2"], axes, True, None)
    again = defaults.read(runs.find("r", "unet", root))
    assert again.settings == kept.settings  # with its sampler


def test_what_does_not_compare_or_is_not_there_is_refused(measured):
    root, _ = measured
    words, axes = ["run=r", f"root={root}"], sweep.Axes("all", "fd", "r@1")
    with pytest.raises(UserError, match="n_fake: 10 / 20"):
        sweep.sweep([*words, "count=10,20"], axes, False, None)
    with pytest.raises(UserError, match="no figure 'kid'; there are: fd, r@1"):
        sweep.sweep([*words, "guidance.scale=1,2"], sweep.Axes("all", "kid", "r@1"), False, None)


@pytest.mark.parametrize(("role", "name", "words"), [
    ("upsampler", "default", ["upsample.use=always"]),
    ("unet", "worse", ["guidance.bad=worse", "guidance.bad_scale=2"]),
])  # fmt: skip
def test_another_upsampler_or_bad_model_is_measured_anew(measured, role, name, words):
    root, seen = measured
    axes, folder = sweep.Axes("all", "fd", "r@1"), root / "r" / role / "artifacts" / name
    words = ["run=r", f"root={root}", "guidance.scale=1,2", *words]
    for value in (0.0, 0.0, 1.0):
        card = {"upsampler": UPSAMPLER, "unet": PREDICTOR}[role]
        runs.save(folder, {"weight": torch.full((2,), value)}, card)
        sweep.sweep(words, axes, False, None)
    assert seen == [1, 2, 1, 2]
