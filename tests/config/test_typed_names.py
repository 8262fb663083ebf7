"""Names and paths as words of the command line: what is typed is what is meant."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import shlex
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from typer.testing import CliRunner

from dmtool import config
from dmtool.cli import app
from dmtool.config.compose import NAMES, choices, composed, named
from dmtool.config.using import HasData, Inspect, SampleConfig
from dmtool.config.validation import check, validate
from dmtool.errors import UserError

DIGITS = ["2024", "20240501", "0012", "1_000", "1e5", "1.50", "true", "nan", "+5", "-5"]


def test_names_of_digits_are_names():
    words = [f"{key}={value}" for key in ("run", "from.unet") for value in DIGITS]
    for word in words:
        key, _, value = word.partition("=")
        config = composed("sample", [word])
        assert (config.run if key == "run" else config["from"].unet) == value
    said = ["run=2024", "root=1_0", "artifact=1", "guidance.bad=7", "guidance.bad_scale=2"]
    checked = validate(composed("sample", said), SampleConfig)
    assert (checked.run, checked.root) == ("2024", "1_0")
    assert (checked.artifact, checked.guidance.bad) == ("1", "7")
    assert validate(composed("inspect", ["data=folder", "data.path=2024"]), Inspect).data.path
    assert composed("train_vae", ["init=null"]).init is None
    assert composed("sample", ["seed=0"]).seed == 0
    several = [choices(word) for word in choices("run=0012,1_000,a")]
    assert [composed("sample", each).run for each in several] == ["0012", "1_000", "a"]


def test_whole_numbers_of_a_file_are_names(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    data = {"path": 2024}
    usual = dict(composed("inspect", ["data=folder", "data.path=x"]).data)
    assert check({"data": usual | data}, HasData).data.path == "2024"
    assert check({"data": usual | {"path": "~/x"}}, HasData).data.path == f"{tmp_path}/x"


def test_home_is_where_a_path_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "größe (1)"))
    for word in ("root=~/runs", "run=~", "data.path=~/x", "init=~/a b"):
        key, _, value = word.partition("=")
        name = "inspect" if key == "data.path" else "train_vae"
        more = ["data=folder"] if name == "inspect" else []
        config = composed(name, [*more, word])
        found = config.data.path if name == "inspect" else config[key]
        assert found == value.replace("~", str(tmp_path / "größe (1)"))
    assert named("guidance.scale=~1") == "guidance.scale=~1"


@pytest.mark.parametrize("value", [
    "图片", "été", "pictures (1)", "it's", 'say "a"', "a'\\", "a b=c;d", "~user/ü", "{x", "[1",
])  # fmt: skip
def test_what_hydra_cannot_read_is_shown_as_it_can(value):
    with pytest.raises(UserError, match="cannot read") as raised:
        composed("inspect", ["data=folder", f"data.path={value}"])
    (word,) = shlex.split(str(raised.value).partition("; in quotes: ")[2])
    assert composed("inspect", ["data=folder", word]).data.path == value


def test_every_text_of_the_schemas_is_a_name_or_known_not_to_be():
    """A new setting that is a text must be decided upon: NAMES keeps digits as they are typed."""
    lists = {"hold_out", "samplers", "grids", "track", "metrics"}
    other = {"kind", "best", "stage"}  # chosen of lists, and the name of a figure
    for schema in schemas():
        for name, hint in get_type_hints(schema, include_extras=True).items():
            if name.rstrip("_") not in NAMES | lists | other:
                assert not has_text(hint), f"{schema.__name__}.{name}"


def schemas():
    for module in pkgutil.iter_modules(config.__path__, "dmtool.config."):
        for found in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(found) and dataclasses.is_dataclass(found):
                yield found


def has_text(hint):
    if hint is str:
        return True
    if get_origin(hint) is Literal:
        return False
    if get_origin(hint) in (Annotated, Union, UnionType, list, tuple):
        return any(has_text(each) for each in get_args(hint))
    return False


def test_a_file_where_a_run_should_be_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").touch()
    for words in (["info", "./notes"], ["watch", "./notes"], ["check-run", "./notes"]):
        done = CliRunner().invoke(app, words)
        assert (done.exit_code, re.sub("dmtool: ", "", done.output)) == (
            2,
            "notes is a file, and no run\n",
        )
