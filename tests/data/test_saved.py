"""Configs that were saved by another version."""

import pytest
from omegaconf import OmegaConf

from dmtool.config import check
from dmtool.data import saved
from dmtool.errors import UserError
from dmtool.schemas import HasData


@pytest.fixture
def file(config, tmp_path):
    """A config.yaml with a data section of shapes, from before there was `hold_out`."""

    def write(**changes):
        shapes = vars(config("shapes", count=20, size=16, **changes))
        older = {name: value for name, value in shapes.items() if name != "hold_out"}
        OmegaConf.save(OmegaConf.create({"run": "x", "data": older | changes}), path)
        return path

    path = tmp_path / "config.yaml"
    return write


def test_an_older_data_section_names_the_pictures_that_it_did(file, config):
    found = saved.read(file(seed=3))
    assert found["run"] == "x"
    data = check({"data": found["data"]}, HasData).data
    assert data == config("shapes", count=20, size=16, seed=3)


def test_what_it_says_is_kept_and_checked(file):
    assert saved.read(file(hold_out=["red circle"]))["data"]["hold_out"] == ["red circle"]
    path = file()
    path.write_text(path.read_text().replace("count", "number"))
    with pytest.raises(UserError, match=r"unknown key 'data\.number'"):
        check({"data": saved.read(path)["data"]}, HasData)
    path.write_text(path.read_text().replace("kind: shapes", "kind: shape"))
    with pytest.raises(UserError, match=r"data=shape is none of emoji, folder, shapes"):
        saved.read(path)


def test_what_a_file_says_is_neither_filled_in_nor_a_word_for_hydra(file, monkeypatch):
    monkeypatch.setenv("SECRET", "7")
    path = file(seed="${oc.env:SECRET}")
    assert saved.read(path)["data"]["seed"] == "${oc.env:SECRET}"
    with pytest.raises(UserError, match=r"data\.shapes\.seed|data\.seed='\$\{oc\.env:SECRET\}'"):
        check({"data": saved.read(path)["data"]}, HasData)
    for kind in ("folder,hydra/launcher=joblib", "../text/minilm", "_common", "{folder: x}"):
        path.write_text(path.read_text().replace("kind: shapes", f"kind: '{kind}'"))
        with pytest.raises(UserError, match="is none of emoji, folder, shapes"):
            saved.read(path)
        path.write_text(path.read_text().replace(f"kind: '{kind}'", "kind: shapes"))
