"""Folders that are the splits of a data set, against Hugging Face's own reading of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import data_files
from PIL import Image

from dmtool.data import source, splits
from dmtool.errors import UserError
from dmtool.measure.captioned_folder import captioned
from dmtool.measure.real_pictures import of_data
from dmtool.runs import migrate

NAMES = {"train": "train", "validation": "val", "test": "test"}
"""Our splits by theirs."""


def fill(root: Path, **counts: int) -> None:
    """`counts` pictures, all different, in folders with `__` for a slash."""
    for folder, count in counts.items():
        place = root / folder.replace("__", "/")
        place.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            colour = (i, 7 * len(folder) % 256, sum(map(ord, folder)) % 256)
            Image.new("RGB", (8, 8), colour).save(place / f"{i}.png")


def taken(config):
    """The keys of each split as training takes them; evaluation must see the same."""
    found = source.load(config)
    by_split = {
        name: sorted(part["key"])
        for name, part in source.splits(found, config).items()
        if len(part)
    }
    reals = of_data(config, 8)
    for name in ("train", "val", "test"):
        assert sorted(reals.keys[row] for row in reals.of(name)) == by_split.get(name, [])
    return by_split


def theirs(root: Path) -> dict[str, list[str]]:
    patterns = data_files.get_data_patterns(str(root))
    found = data_files.DataFilesDict.from_patterns(patterns, base_path=str(root))
    return {
        NAMES[str(split)]: sorted(str(Path(file).relative_to(root.resolve())) for file in files)
        for split, files in found.items()
    }


@pytest.mark.parametrize(
    "folders",
    [
        {"train": 3, "validation": 2, "test": 1},
        {"training": 2, "dev": 1, "evaluation": 1},
        {"train2017": 3, "val2017": 2, "test-2017": 2},
        {"my_train": 2, "my_valid": 1, "eval": 1},
        {"pets__train__cat": 1, "pets__train__dog": 2, "pets__val__cat": 1, "pets__test__dog": 1},
        {"cat__train": 1, "cat__val": 1, "cat__test": 1, "dog__train": 2, "dog__val": 1},
    ],
)
def test_folders_are_the_splits_as_datasets_has_them(tmp_path, config, folders):
    fill(tmp_path, **folders)
    chosen = config("folder", path=str(tmp_path), val=0.3, test=0.3)
    assert taken(chosen) == theirs(tmp_path)
    (note,) = [line for line in source.load(chosen).notes if "taken as splits" in line]
    assert all(f"{name} is" in note for name in NAMES.values())


def test_the_words_are_those_of_datasets():
    known = {NAMES[str(split)]: set(words) for split, words in data_files.SPLIT_KEYWORDS.items()}
    assert known == splits.KEYWORDS
    assert splits.named("Train") == splits.named("images.TRAIN-1") == "train"
    assert not any(map(splits.named, ["trains", "latest", "train_test", "", "contest 1"]))


def test_a_split_without_a_folder_is_cut_from_train(tmp_path, config):
    fill(tmp_path, train=200, test=20)
    chosen = config("folder", path=str(tmp_path), val=0.2, test=0.3)
    found = taken(chosen)
    assert found["test"] == sorted(f"test/{i}.png" for i in range(20))
    assert all(key.startswith("train/") for key in found["train"] + found["val"])
    assert 20 < len(found["val"]) < 60
    whole = taken(replace(chosen, splits="hash"))
    assert {key for key in whole["test"] if key.startswith("train/")}, "hash draws from all"
    (tmp_path / "test").rename(tmp_path / "val")
    found = taken(chosen)
    assert found["val"] == sorted(f"val/{i}.png" for i in range(20))
    assert 30 < len(found["test"]) < 90 and not any("val/" in key for key in found["test"])


def test_their_names_are_no_captions_and_their_metadata_is_read(tmp_path, config):
    fill(tmp_path, train=2, test=2)
    chosen = config("folder", path=str(tmp_path))
    assert source.load(chosen).dataset["caption"] == [[], [], [], []]
    for folder in ("train", "test"):
        rows = [{"file_name": f"{i}.png", "text": f"{folder} {i}"} for i in range(2)]
        (tmp_path / folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = source.splits(source.load(chosen), chosen)
    assert list(found["test"]["caption"]) == [["test 0"], ["test 1"]]
    fill(tmp_path, cats__train=2, cats__val=1, dogs__train=1)
    for folder in ("train", "test"):
        for file in (tmp_path / folder).iterdir():
            file.unlink()
    with pytest.raises(UserError, match=r"2 of 2 pictures in .* have no caption"):
        fill(tmp_path / "plain", train=1, test=1)
        captioned(tmp_path / "plain")
    shutil.rmtree(tmp_path / "plain")
    captions = source.load(chosen).dataset["caption"]
    assert [each for (each,) in captions] == ["cats"] * 3 + ["dogs"]


def test_what_the_splits_are_identifies_the_data(tmp_path, config):
    fill(tmp_path, train=3, val=2)
    chosen = config("folder", path=str(tmp_path))
    folders, hashed = (source.load(replace(chosen, splits=how)) for how in ("folders", "hash"))
    assert folders.fingerprint != hashed.fingerprint
    (tmp_path / "val/0.png").rename(tmp_path / "train/9.png")
    assert source.load(chosen).fingerprint != folders.fingerprint
    fill(tmp_path / "plain", a=2, b=2)
    plain = config("folder", path=str(tmp_path / "plain"))
    same = (source.load(replace(plain, splits=how)).fingerprint for how in ("folders", "hash"))
    assert len(set(same)) == 1


def test_runs_of_before_go_by_the_hash(tmp_path):
    written = {"data": {"kind": "folder", "path": "x"}}
    assert migrate.CONFIG.read(written, tmp_path)["data"]["splits"] == "hash"
    of_shapes = migrate.CONFIG.read({"data": {"kind": "shapes"}}, tmp_path)["data"]
    assert "splits" not in of_shapes


def test_what_is_left_open_is_refused_and_one_split_is_none(tmp_path, config):
    fill(tmp_path, train=3, train2=2)
    chosen = config("folder", path=str(tmp_path))
    assert not source.load(chosen).folders
    fill(tmp_path, test=2, more=1)
    with pytest.raises(UserError, match=r"1 picture stands outside of them \(more/0.png\)"):
        source.load(chosen)
    assert len(source.load(replace(chosen, splits="hash")).dataset) == 8
    fill(tmp_path / "other", val=1, test=1)
    with pytest.raises(UserError, match="without its train split"):
        source.load(replace(chosen, path=str(tmp_path / "other")))
