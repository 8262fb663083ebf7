import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dmtool.data import source
from dmtool.errors import UserError


def test_splits_partition_the_set_by_the_hash_of_the_key(config):
    shapes = config("shapes", count=600, size=16, val=0.1, test=0.2)
    parts = source.splits(source.load(shapes), shapes)
    keys = {name: set(part["key"]) for name, part in parts.items()}
    assert sum(map(len, keys.values())) == len(set.union(*keys.values())) == 600
    for key in keys["test"]:
        number = int(hashlib.sha256(key.encode()).hexdigest()[:16], 16) / 2**64
        assert number < 0.2
    assert abs(len(keys["test"]) / 600 - 0.2) < 0.05 and abs(len(keys["val"]) / 600 - 0.1) < 0.04


def test_adding_pictures_moves_none_and_growing_test_takes_only_from_the_others(config):
    few, many = (config("shapes", count=count, size=16) for count in (100, 150))
    wide = replace(many, test=0.3)
    small, large, more = (
        {
            key: name
            for name, part in source.splits(source.load(c), c).items()
            for key in part["key"]
        }
        for c in (few, many, wide)
    )
    assert small.items() <= large.items()
    assert {key for key, name in large.items() if name == "test"} <= {
        key for key, name in more.items() if name == "test"
    }


def test_entries_of_before_there_were_folders_are_read(config):
    shapes = config("shapes", count=30, size=16, seed=5)
    now = source.load(shapes)
    file = Path(now.dataset.cache_files[0]["filename"]).with_name("source.json")
    facts = json.loads(file.read_text())
    assert facts.pop("folders") == {}
    file.write_text(json.dumps(facts))
    again = source.load(shapes)
    assert again.fingerprint == now.fingerprint and not again.folders
    assert source.by_row(again, shapes) == source.by_row(now, shapes)


def test_an_empty_train_split_is_refused(config):
    shapes = config("shapes", count=1, size=16, val=0.49, test=0.5)
    with pytest.raises(UserError, match="none of the 1 picture"):
        source.split(source.load(shapes), shapes, "train")


def test_the_dataset_is_memory_mapped_and_the_fingerprint_is_of_its_content(config, cache):
    first = source.load(config("shapes", count=20, size=16, seed=1))
    again = source.load(config("shapes", count=20, size=16, seed=1, crop="random"))
    other = source.load(config("shapes", count=20, size=16, seed=2))
    file = first.dataset.cache_files[0]["filename"]
    assert file.startswith(str(cache)) and again.dataset.cache_files[0]["filename"] == file
    assert first.fingerprint == again.fingerprint != other.fingerprint
    row = first.dataset[3]
    assert row["key"] == "00000003" and len(row["caption"]) == 1
    assert np.asarray(row["image"]).shape == (16, 16, 3)
