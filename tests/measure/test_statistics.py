"""Sides of a distance: what is kept and said of pictures, and files of statistics in and out."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dmtool.config import compose
from dmtool.config.using import Stats
from dmtool.config.validation import validate
from dmtool.errors import UserError
from dmtool.measure import folders, stats
from dmtool.measure.features import statistics
from dmtool.measure.features.features import FeatureExtractor
from dmtool.measure.folders import load

random = np.random.default_rng(0)
WORDS = (
    *("extractor=torchscript", "extractor.weights=flat.pt", "extractor.size=2", "device=cpu"),
    *("extractor.resize=bilinear", "extractor.mean=[0,0,0]", "extractor.std=[1,1,1]"),
)


class Counting(torch.nn.Flatten):
    seen = 0

    def forward(self, x):
        Counting.seen += len(x)
        return super().forward(x)


def halves(name="FD-halves"):
    """Features: the means of each channel's left and right half."""
    return FeatureExtractor(
        kind="test",
        name=name,
        sha256="0" * 64,
        dim=6,
        protocol={"layer": name},
        device=torch.device("cpu"),
        prepare=lambda images: torch.nn.functional.adaptive_avg_pool2d(images, (1, 2)),
        network=Counting(),
    )


def write(folder, count, size=(8, 8)):
    folder.mkdir()
    pixels = random.integers(0, 256, (count, *size, 3), np.uint8)
    for i, each in enumerate(pixels):
        Image.fromarray(each).save(folder / f"{i:03}.png")
    left, right = np.split(pixels.astype(float), 2, axis=2)
    return pixels, np.stack([left.mean((1, 2)), right.mean((1, 2))], axis=2).reshape(count, 6)


def distance(real, fake):
    found = folders.compare_folders(real, fake, halves(), 4, ["fd"], 0)
    return found["figures"]["all"]["fd"], found


def test_features_are_kept_by_content_not_by_place(tmp_path):
    _, rows = write(tmp_path / "a", 10)
    found = load(tmp_path / "a", halves(), 4)
    np.testing.assert_allclose(found.rows, rows, rtol=1e-5)
    seen = Counting.seen
    (tmp_path / "a").rename(tmp_path / "b")
    np.testing.assert_array_equal(load(tmp_path / "b", halves(), 3).rows, found.rows)
    assert Counting.seen == seen
    Image.new("RGB", (8, 8)).save(tmp_path / "b" / "000.png")
    assert not np.array_equal(load(tmp_path / "b", halves(), 4).rows, found.rows)
    load(tmp_path / "b", halves("FD-others"), 4)
    assert Counting.seen == seen + 20


def test_what_is_odd_about_pictures_is_said(tmp_path):
    write(tmp_path / "x", 4)
    for name, mode in (("grey", "L"), ("clear", "RGBA")):
        Image.open(tmp_path / "x" / "000.png").convert(mode).save(tmp_path / "x" / f"{name}.png")
    Image.open(tmp_path / "x" / "grey.png").resize((20, 9)).save(tmp_path / "x" / "wide.jpg")
    (tmp_path / "x" / "again.png").write_bytes((tmp_path / "x" / "001.png").read_bytes())
    (tmp_path / "x" / "notes.txt").write_text("no picture")
    notes = "\n".join(load(tmp_path / "x", halves(), 4, generated=True).notes)
    for part in (
        "left aside, no pictures: 1 (notes.txt)",
        "2 sizes, 8x8 to 20x9",
        "grey pictures, taken as RGB: 2",
        "over white (other libraries drop the alpha channel): 1",
        "byte for byte: 1 of 8",
        "lossy format (JPEG, WebP): 1 of 8",
    ):
        assert part in notes
    assert "lossy" not in "\n".join(load(tmp_path / "x", halves(), 4).notes)
    write(tmp_path / "plain", 4)
    assert not load(tmp_path / "plain", halves(), 4, generated=True).notes


def test_statistics_come_back_as_they_were_written(tmp_path):
    _, rows = write(tmp_path / "real", 20)
    write(tmp_path / "fake", 12)
    found = load(tmp_path / "real", halves(), 4)
    for wanted in (False, True):
        path = tmp_path / f"{wanted}.npz"
        statistics.write(path, found, found.moments(), halves(), wanted)
        with np.load(path) as file:  # as TTUR, pytorch-fid and clean-fid read it
            np.testing.assert_allclose(file["mu"], rows.mean(0), rtol=1e-6)
            np.testing.assert_allclose(file["sigma"], np.cov(rows.T), rtol=1e-4)
            assert ("feats" in file.files) == wanted and file["n"] == 20
        expected, _ = distance(tmp_path / "real", tmp_path / "fake")
        value, result = distance(path, tmp_path / "fake")
        assert value == pytest.approx(expected, rel=1e-9)
        assert result["n_real"] == 20 and not any("trust" in w for w in result["warnings"])
        with pytest.raises(UserError, match="its name is FD-halves, this one's is FD-others"):
            load(path, halves("FD-others"), 4)


def test_the_files_of_other_libraries(tmp_path):
    pixels, rows = write(tmp_path / "real", 20)
    write(tmp_path / "fake", 12)
    expected, _ = distance(tmp_path / "real", tmp_path / "fake")
    mu, sigma = rows.mean(0), np.cov(rows.T)
    np.savez(tmp_path / "ttur.npz", mu=mu, sigma=sigma)
    np.savez(tmp_path / "adm.npz", mu=mu, sigma=sigma, mu_s=np.zeros(3), sigma_s=np.eye(3))
    np.savez(tmp_path / "images.npz", pixels)
    np.savez_compressed(tmp_path / "kid.npz", feats=rows.astype(np.float32))
    for name, n in (("ttur", None), ("adm", None), ("images", 20), ("kid", 20)):
        value, result = distance(tmp_path / f"{name}.npz", tmp_path / "fake")
        assert value == pytest.approx(expected, rel=1e-4)
        assert result["n_real"] == n
        said = "\n".join(result["warnings"])
        assert ("on trust for FD-halves" in said) == (name != "images")
        assert ("of how many pictures" in said) == (n is None)


def refused(path, content=None):
    if content is not None:
        np.savez(path, **content)
    with pytest.raises(UserError) as error:
        load(path, halves(), 4)
    return str(error.value)


def test_files_that_are_no_statistics_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    ok = {"mu": np.zeros(6), "sigma": np.eye(6)}
    objects = np.array([{"a": 1}], dtype=object)
    assert "pickles are refused" in refused(path, ok | {"mu": objects})
    path.write_bytes(pickle.dumps(ok))
    assert "pickles are refused" in refused(path)
    path.write_bytes(b"")
    assert "cannot be read" in refused(path)
    assert "has 7 features, FD-halves has 6" in refused(
        path, {"mu": np.zeros(7), "sigma": np.eye(7)}
    )
    assert "no covariance of mu" in refused(path, ok | {"sigma": np.eye(5)})
    assert "not finite" in refused(path, ok | {"mu": np.full(6, np.nan)})
    assert "holds ['x']: it needs mu and sigma" in refused(path, {"x": np.zeros(3)})
    assert "images are uint8" in refused(path, {"arr_0": np.zeros((4, 8, 8, 3))})


def test_one_and_two_processes_find_the_same_moments(tmp_path, monkeypatch):
    """300 pictures are two shards; the second process has a cache of its own to fill."""
    pixels, _ = write(tmp_path / "real", 300, size=(2, 2))
    torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 3, 2, 2)).save(tmp_path / "flat.pt")
    monkeypatch.chdir(tmp_path)
    config = validate(compose.composed("stats", WORDS), Stats)
    stats.run(config, Path("real"), Path("1.npz"), rows=False)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = ["-m", "dmtool", "stats", "real", "--out", "2.npz", *WORDS]
    environment = os.environ | {"DMTOOL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([*launch, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("300 pictures") == 1
    with np.load("1.npz") as one, np.load("2.npz") as two:
        assert str(one["name"]) == str(two["name"]) and str(one["name"]).endswith("@2")
        for key in ("mu", "sigma"):
            np.testing.assert_allclose(one[key], two[key], rtol=0, atol=1e-12)
        rows = pixels.transpose(0, 3, 1, 2).reshape(300, 12) / 255
        np.testing.assert_allclose(one["sigma"], np.cov(rows.T), rtol=1e-5, atol=1e-7)
