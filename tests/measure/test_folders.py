"""Two folders of real picture files of all sorts, and bad ones."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dmtool.errors import UserError
from dmtool.measure import folders, lines
from dmtool.measure.distances.kid import kid
from dmtool.measure.distances.manifold import manifold
from dmtool.measure.features.features import FeatureExtractor

random = np.random.default_rng(0)


@pytest.fixture
def extractor():
    """Features: the means of each channel's left and right half."""
    return FeatureExtractor(
        kind="test",
        name="FD-halves",
        sha256="0" * 64,
        dim=6,
        protocol={},
        device=torch.device("cpu"),
        prepare=lambda images: torch.nn.functional.adaptive_avg_pool2d(images, (1, 2)),
        network=torch.nn.Flatten(),
    )


def write(folder, count, low, suffix=".png"):
    """Pictures of different sizes, one folder deep as well; returns their features."""
    (folder / "deep").mkdir(parents=True)
    rows = []
    for i in range(count):
        pixels = random.integers(low, 256, (4 + i, 6 + 2 * (i % 3), 3), np.uint8)
        Image.fromarray(pixels).save(folder / ("deep" if i % 2 else "") / f"{i}{suffix}")
        left, right = np.split(pixels.astype(float), 2, axis=1)
        rows.append(np.stack([left.mean((0, 1)), right.mean((0, 1))], axis=1).ravel())
    return np.array(rows)


def compare_folders(real, fake, extractor, batch_size, wanted=("fd",)):
    return folders.compare_folders(real, fake, extractor, batch_size, wanted, 0)


def by_hand(x, y):
    a, b = np.cov(x.T), np.cov(y.T)
    values = np.linalg.eigvals(a @ b).astype(complex)
    mean_term = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return mean_term, np.trace(a) + np.trace(b) - 2 * np.sqrt(values).real.sum()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_distance_is_that_of_the_files_pixels(tmp_path, extractor, batch_size):
    x, y = write(tmp_path / "real", 30, 0), write(tmp_path / "fake", 20, 100)
    (tmp_path / "real" / "notes.txt").write_text("no picture")
    (tmp_path / "real" / ".hidden.png").write_bytes(b"")
    found = compare_folders(tmp_path / "real", tmp_path / "fake", extractor, batch_size)
    mean_term, cov_term = by_hand(x, y)
    whole = found["figures"]["all"]
    assert whole["mean_term"] == pytest.approx(mean_term, rel=1e-5)
    assert whole["cov_term"] == pytest.approx(cov_term, rel=1e-3)
    assert whole["fd"] == whole["mean_term"] + whole["cov_term"]
    assert (found["metric"], found["n_real"], found["n_fake"]) == ("FD-halves", 30, 20)
    assert found["provisional"] and not found["n_below_dim"]
    assert json.loads(json.dumps(found)) == found


def test_one_folder_twice_is_at_no_distance(tmp_path, extractor):
    write(tmp_path / "a", 5, 0)
    found = compare_folders(tmp_path / "a", tmp_path / "a", extractor, 2)
    assert found["figures"]["all"]["fd"] == pytest.approx(0, abs=1e-6) and found["n_below_dim"]


def test_grey_and_transparent_pictures_are_rgb_over_white(tmp_path, extractor):
    for name, mode, colour in [("a", "L", 128), ("b", "RGBA", (9, 9, 9, 0)), ("c", "LA", (9, 0))]:
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new(mode, (4, 4), colour).save(tmp_path / name / f"{i}.png")
    (tmp_path / "white").mkdir()
    for i in range(2):
        Image.new("RGB", (8, 8), "white").save(tmp_path / "white" / f"{i}.png")
    value = {
        name: compare_folders(tmp_path / "white", tmp_path / name, extractor, 2)["figures"]["all"][
            "fd"
        ]
        for name in "abc"
    }
    assert value == pytest.approx({"a": 6 * 127**2, "b": 0, "c": 0})


def test_of_many_real_pictures_some_drawn_by_their_bytes_are_compared_in_pairs(tmp_path, extractor):
    write(tmp_path / "real", 30, 0)
    y = write(tmp_path / "fake", 12, 100)
    shutil.copytree(tmp_path / "real", tmp_path / "other")
    for file in list((tmp_path / "other").rglob("*.png")):
        file.rename(tmp_path / "other" / f"{file.stem[::-1]}x.png")  # in another order
    wanted = ("fd", "kid", "manifold")

    def measured(real, most):
        return folders.compare_folders(
            tmp_path / real, tmp_path / "fake", extractor, 4, wanted, 0, max_real=most
        )

    whole, some, other = measured("real", 30), measured("real", 15), measured("other", 15)
    assert measured("real", None) == whole
    assert "max_real" not in whole["protocol"] and "n_real_drawn" not in whole["figures"]["all"]
    assert some["protocol"]["max_real"] == {"most": 15, "drawn": "by key", "seed": 0}
    one, two = some["figures"]["all"], other["figures"]["all"]
    assert one["fd"] == whole["figures"]["all"]["fd"] and one["n_real"] == 30
    assert one["kid"] != whole["figures"]["all"]["kid"] and one["n_real_drawn"] == 15
    assert two["kid"] == pytest.approx(one["kid"], rel=1e-6) and two["recall"] == one["recall"]
    assert len(y) == one["n_fake"]


def test_every_unreadable_picture_is_named(tmp_path, extractor):
    write(tmp_path / "real", 4, 0)
    write(tmp_path / "fake", 4, 0)
    (tmp_path / "fake" / "empty.jpg").write_bytes(b"")
    whole = (tmp_path / "real" / "2.png").read_bytes()
    (tmp_path / "fake" / "deep" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="2 of 6 pictures") as error:
        compare_folders(tmp_path / "real", tmp_path / "fake", extractor, 2)
    assert "empty.jpg" in str(error.value) and "cut.png" in str(error.value)


def test_folders_without_enough_pictures_are_refused(tmp_path, extractor):
    write(tmp_path / "real", 4, 0)
    (tmp_path / "fake").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "fake" / "only.png")
    with pytest.raises(UserError, match="fake has 1 picture"):
        compare_folders(tmp_path / "real", tmp_path / "fake", extractor, 2)
    with pytest.raises(UserError, match="absent is not a folder"):
        compare_folders(tmp_path / "absent", tmp_path / "real", extractor, 2)


def test_folders_have_all_measures_but_retrieval_and_statistics_the_distance_alone(
    tmp_path, extractor
):
    x, y = write(tmp_path / "real", 30, 0), write(tmp_path / "fake", 12, 100)
    wanted = ["fd", "floor", "spread", "kid", "manifold", "mind"]
    found = compare_folders(tmp_path / "real", tmp_path / "fake", extractor, 4, wanted)
    whole = found["figures"]["all"]
    assert whole["kid"] == pytest.approx(kid(y, x), rel=1e-4)
    assert whole["precision"] == manifold(y, x).precision and whole["floor"].keys() == {
        "disjoint_sample"
    }
    assert whole["floor"]["disjoint_sample"]["n_real"] == 18
    assert list(found["protocol"]["measures"]) == wanted
    np.savez(tmp_path / "x.npz", mu=x.mean(0), sigma=np.cov(x.T))
    alone = compare_folders(tmp_path / "x.npz", tmp_path / "fake", extractor, 4, wanted)
    assert set(alone["figures"]["all"]) == {"n_fake", "n_real", "fd", "mean_term", "cov_term"}
    assert alone["figures"]["all"]["fd"] == pytest.approx(whole["fd"], rel=1e-4)
    assert any("no floor, spread, kid" in line for line in alone["warnings"])
    assert "12 generated pictures against ? real ones" in lines.text(alone)
