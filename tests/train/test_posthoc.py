"""Averages of other lengths, put together from snapshots, against tracked ones and closed forms."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import nn

from dmtool.errors import UserError
from dmtool.train import posthoc, snapshots
from dmtool.train.ema import Ema, Power, gamma
from dmtool.train.snapshots import KEPT, Snapshot, thinned

TRACKED = (0.05, 0.1)


def profile(t, end, sigma_rel):
    """How much the weights at time t count in an average at `end`."""
    g = gamma(sigma_rel)
    return np.where(t <= end, (g + 1) * (t / end) ** g / end, 0.0)


def moments(count, widths=TRACKED):
    return [Snapshot(k * 100, w, Path()) for k in range(1, count + 1) for w in widths]


@pytest.mark.parametrize("ends", [(1.0, 1.0), (0.4, 1.0), (7.0, 2.5)])
@pytest.mark.parametrize("widths", [(0.05, 0.1), (0.2, 0.03), (0.07, 0.07)])
def test_inner_products_are_the_integrals(ends, widths):
    gammas = [np.array(gamma(width)) for width in widths]
    value = posthoc.inner(np.array(ends[0]), gammas[0], np.array(ends[1]), gammas[1])
    integral, _ = integrate.quad(
        lambda t: profile(t, ends[0], widths[0]) * profile(t, ends[1], widths[1]), 0, min(ends)
    )
    assert value == pytest.approx(integral, rel=1e-8)


@pytest.mark.parametrize("sigma_rel", [0.03, 0.07, 0.15])
def test_the_error_is_the_distance_of_the_profiles_and_constants_are_kept(sigma_rel):
    known = moments(12)
    found = posthoc.fit(known, sigma_rel)
    t = (np.arange(100_000) + 0.5) / 100_000
    parts = np.array([profile(t, each.pictures / 1200, each.sigma_rel) for each in known])
    wanted = profile(t, 1.0, sigma_rel)
    distance = np.linalg.norm(found.weights @ parts - wanted) / np.linalg.norm(wanted)
    assert found.error == pytest.approx(distance, rel=1e-3)
    assert found.weights.sum() == pytest.approx(1, abs=1e-9)
    for i in (0, 9, 20):  # no exchange between two snapshots brings it nearer
        for step in (-1e-4, 1e-4):
            moved = found.weights + step * (np.eye(24)[i] - np.eye(24)[23])
            assert np.linalg.norm(moved @ parts - wanted) > distance * np.linalg.norm(wanted)


def test_a_width_that_was_tracked_is_its_newest_snapshot():
    for i, sigma_rel in enumerate(TRACKED):
        found = posthoc.fit(moments(16), sigma_rel)
        expected = np.zeros(32)
        expected[30 + i] = 1
        np.testing.assert_allclose(found.weights, expected, atol=1e-6)
        assert found.error < 1e-6


def test_a_width_out_of_reach_is_refused_with_the_range():
    with pytest.raises(UserError, match=r"16 moments.* from 0\.028 to 0\.233"):
        posthoc.checked(moments(16), 0.02)
    for sigma_rel in (0.028, 0.233):
        assert posthoc.checked(moments(16), sigma_rel).error <= posthoc.TOLERANCE
    with pytest.raises(UserError, match=r"0\.043 to 0\.0\d+ and from 0\.0\d+ to 0\.112"):
        posthoc.checked(moments(1), 0.07)
    for sigma_rel in (-1.0, 0.0, 0.5, float("nan")):
        with pytest.raises(UserError, match="cannot be reconstructed"):
            posthoc.checked(moments(16), sigma_rel)


class Walks(nn.Module):
    """Random walks around values that lie apart, as weights of a training do."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(500))
        self.register_buffer("count", torch.tensor(0))

    @torch.no_grad()
    def step(self):
        self.weight += 0.02 * torch.randn(500)
        self.count += 1


@pytest.mark.parametrize("sigma_rel", [0.04, 0.07, 0.15])
def test_reconstruction_agrees_with_a_directly_tracked_average(tmp_path, sigma_rel):
    """500 random walks of 2,000 steps, snapshots in float16 thinned out as in a run."""
    torch.manual_seed(0)
    walks = Walks()
    ema = Ema(walks, Power(sigma_rel), TRACKED)
    for k in range(1, 2001):
        walks.step()
        ema.update(4, 4 * k)
        if k % 25 == 0:
            averages = {width: ema.averages[Power(width)] for width in TRACKED}
            snapshots.save(tmp_path, 4 * k, averages, every=100)
    known = snapshots.find(tmp_path)
    assert KEPT <= len(known) <= 2 * (KEPT + 1)
    assert known[0].tensors()["weight"].dtype == torch.float16
    found = posthoc.checked(known, sigma_rel)
    rebuilt = posthoc.combine(known, found.weights)
    assert rebuilt["count"] == 2000
    distance = (rebuilt["weight"] - ema.weights["weight"]).norm()
    averaging = (walks.weight.detach() - ema.weights["weight"]).norm()
    assert distance < 0.02 * averaging
    nearest = min(
        (ema.averages[Power(w)]["weight"] - ema.weights["weight"]).norm() for w in TRACKED
    )
    assert distance < nearest / 5


def test_what_float16_cannot_hold_stays_as_it_is(tmp_path):
    weights = {"large": torch.tensor([1e5]), "small": torch.tensor([1 / 3]), "n": torch.tensor(7)}
    snapshots.save(tmp_path, 10, {0.1: weights}, every=10)
    (snapshot,) = snapshots.find(tmp_path)
    read = snapshot.tensors()
    assert read["large"] == 1e5 and read["n"] == 7
    assert abs(read["small"].float() - 1 / 3) < 2**-12
    snapshot.file.write_bytes(snapshot.file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="damaged"):
        snapshot.tensors()


def test_moments_are_thinned_out_evenly_and_by_the_pictures_seen_alone():
    kept = []
    for seen in range(100, 100_001, 100):
        kept = sorted(thinned([*kept, seen], 100))
        assert len(kept) <= KEPT + 1
        gaps = np.diff(kept[:-1])
        assert len(set(gaps)) <= 1 and seen - kept[-2:][0] <= 2 * (gaps[0] if len(gaps) else 100)
        if seen >= 800:
            assert max(gaps) <= seen / (KEPT / 2)
    ended = sorted(thinned([*kept, 100_050], 100))  # a run that ended and was extended
    assert 100_050 in ended and 100_050 not in thinned([*ended, 102_400], 100)


def test_a_run_that_goes_back_forgets_what_comes_later(tmp_path):
    for seen in (10, 20, 30):
        snapshots.save(tmp_path, seen, {0.1: {"w": torch.ones(1)}}, every=10)
    snapshots.forget_after(tmp_path, 20)
    assert [each.pictures for each in snapshots.find(tmp_path)] == [10, 20]
    assert json.loads((tmp_path / f"{20:012d}/sha256.json").read_text()).keys() == {
        "0.1.safetensors"
    }
