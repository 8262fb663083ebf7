"""The cache, statistics, pictures and captions, damaged in 300 ways, as `test_fuzz` does runs."""

import json
import random

import numpy as np
import pytest
import torch
from cards import SHA
from damage import MANY, TEXTS, outcome, tried
from PIL import Image
from small_run import STATISTICS, read_all, read_statistics

from dmtool.config.compose import composed
from dmtool.config.using import Inspect
from dmtool.config.validation import validate
from dmtool.data import source
from dmtool.files import entries, outputs, shards
from dmtool.measure import captioned_folder

pytestmark = pytest.mark.slow


def test_many_entries_of_the_data_cache(tmp_path, monkeypatch, silent):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    words = ["data=shapes", "data.count=24", "data.size=16"]
    config = validate(composed("inspect", words), Inspect).data
    source.load(config)
    files = sorted((tmp_path / "cache").glob("data/*/*"))
    expected = read_all(config)
    for case, kind, found in tried(files, lambda: read_all(config), MANY, TEXTS):
        assert kind == "done" and found == expected, case


def test_many_shards(tmp_path, monkeypatch, silent):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))

    def act():
        encode = lambda rows: {"x": torch.arange(rows.start, rows.stop)}  # noqa: E731
        return torch.cat(shards.filled("toy", {"a": 1}, 600, 8, encode).column("x")).tolist()

    assert act() == [*range(600)]
    files = sorted((tmp_path / "cache").glob("toy/*/*"))
    for case, kind, found in tried(files, act, MANY, TEXTS):
        assert kind == "done" and found == [*range(600)], case


def test_many_listings(tmp_path, monkeypatch, silent):
    """`dmtool cache ls` and `verify` of what is damaged."""
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    words = ["data=shapes", "data.count=24", "data.size=16"]
    source.load(validate(composed("inspect", words), Inspect).data)
    files = sorted((tmp_path / "cache").glob("data/*/*"))
    whole = outcome(entries.verify)
    assert whole[0] == "done"
    for case, kind, found in tried(
        files, lambda: (entries.listing(), outcome(entries.verify)), MANY, TEXTS
    ):
        assert kind == "done" and "\n" in found[0], case


def test_many_statistics(tmp_path, silent):
    folder = tmp_path / "s"
    folder.mkdir()
    path, rng = folder / "x.npz", random.Random(0)
    about = {"name": "FD-six", "sha256": SHA, "protocol": {}}
    np.savez(path, **STATISTICS, extractor=json.dumps(about))
    expected = read_statistics(path)
    for case, kind, found in tried([path], lambda: read_statistics(path), MANY):
        assert kind == "refused" or found == expected, case
    odd = [np.zeros(()), np.zeros(0), np.full(6, np.nan), np.array("x"), np.array(b"x"), np.eye(6),
           np.zeros((6, 6, 6)), np.array([1, 2]), np.array(-5), np.array(1e308), np.array(True),
           np.array(10**18), np.zeros(6, complex), np.array("{"), np.zeros(6, "M8[s]"),
           np.zeros(2, "i4,f4"), np.array([None])]  # fmt: skip
    for _ in range(MANY):
        held = dict(STATISTICS)
        held[rng.choice(["mu", "sigma", "n", "extractor", "feats", "files", "arr_0"])] = rng.choice(
            odd
        )
        np.savez(path, **held)
        outcome(lambda: read_statistics(path))


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder of pictures with captions of all kinds, and what is read of it."""
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "pictures"
    rows = {"rows": ["a.png", "b.jpg", "c.webp"], "table": ["d.png", "e.gif"], "texts": ["f.tif"]}
    for number, (folder, names) in enumerate(rows.items()):
        (home / folder).mkdir(parents=True)
        for name in names:
            noise = Image.effect_noise((24, 20), 60 + number).convert("RGB")
            noise.save(home / folder / name)
    lines = [json.dumps({"file_name": name, "text": f"a {name}"}) for name in rows["rows"]]
    (home / "rows/metadata.jsonl").write_text("\n".join(lines))
    (home / "table/metadata.csv").write_text('file_name,text\nd.png,"a, d"\ne.gif,an e\n')
    (home / "texts/f.txt").write_text("an f\nanother f")
    words = ["data=folder", f"data.path={home}", "data.max_bad=0.5"]
    config = validate(composed("inspect", words), Inspect).data

    def read():
        found = source.load(config)
        rows = found.dataset.with_format("arrow")[:].to_pylist()
        pixels = {row["key"]: row["image"]["bytes"] for row in rows}
        return pixels, {row["key"]: row["caption"] for row in rows}, {name for name, _ in found.bad}

    return home, read


def test_many_pictures(pictures, silent):
    """A damaged picture is named and left out, or is what its bytes say; all else stays."""
    home, read = pictures
    (pixels, captions, _), files = read(), sorted(home.glob("*/?.*[!t]"))
    assert len(pixels) == len(files) == 6
    for case, kind, found in tried(files, read, MANY):
        if kind == "done":
            same = {key for key, data in found[0].items() if data == pixels[key]}
            assert len(same) >= 5 and captions.keys() >= found[0].keys(), case
            assert all(found[1][key] == captions[key] for key in same), case
            assert captions.keys() - found[0].keys() <= found[2] | _away(home, captions), case


def _away(home, keys):
    """Pictures that are no longer there."""
    return {key for key in keys if not (home / key).exists() and not (home / key).is_symlink()}


def test_many_captions(pictures, silent):
    """Captions are what their files say: a picture that loses its own is named or has none, and
    what the other files say stays."""
    home, read = pictures
    pixels, captions, _ = read()
    files = [home / "rows/metadata.jsonl", home / "table/metadata.csv", home / "texts/f.txt"]
    for case, kind, found in tried(files, read, MANY, TEXTS):
        if kind == "done":
            assert all(pixels[key] == data for key, data in found[0].items()), case
            assert pixels.keys() - found[0].keys() <= found[2], case
            changed = {key for key in captions if found[1].get(key) != captions[key]}
            assert len({key.partition("/")[0] for key in changed}) <= 1, case


def test_many_pictures_of_ours(tmp_path, silent):
    """What a picture says of itself is what was written, or nothing."""
    path = tmp_path / "made/a.png"
    path.parent.mkdir()
    noise = Image.effect_noise((24, 20), 60).convert("RGB")
    outputs.save_picture(noise, path, prompt="größer", source=SHA, settings="{}")

    def act():
        return (
            outputs.known(path, outputs.PICTURE),
            outputs.texts(path),
            captioned_folder._prompt(path),
        )

    expected = act()
    assert expected[0] and expected[1]["source"] == SHA and expected[2] == "größer"
    for case, kind, found in tried([path], act, MANY):
        assert kind == "done" and found[0] == bool(found[1]), case
        assert found[1].items() <= expected[1].items() and found[2] in ("", "größer"), case
