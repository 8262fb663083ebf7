"""Configs that were saved by another version."""

import pytest
from omegaconf import OmegaConf

from dmtool.config import validate
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
    data = validate({"data": found["data"]}, HasData).data
    assert data == config("shapes", count=20, size=16, seed=3)


def test_what_it_says_is_kept_and_checked(file):
    assert saved.read(file(hold_out=["red circle"]))["data"]["hold_out"] == ["red circle"]
    path = file()
    path.write_text(path.read_text().replace("count", "number"))
    with pytest.raises(UserError, match=r"unknown key 'data\.number'"):
        validate({"data": saved.read(path)["data"]}, HasData)
    path.write_text(path.read_text().replace("kind: shapes", "kind: shape"))
    with pytest.raises(UserError, match=r"data/shape"):
        saved.read(path)
