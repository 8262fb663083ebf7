"""Kinds of an installed package: chosen, trained and measured with as dmtool's own, and refused in
one line where it is missing or broken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cards import SHA

from dmtool.config import kinds
from dmtool.config.compose import composed
from dmtool.config.using import EvalFid, HasData
from dmtool.config.validation import check, container, validate
from dmtool.errors import UserError
from dmtool.look.kinds import listing
from dmtool.runs import defaults

PACKAGE = Path(__file__).parent / "example_package"
FILES = {
    "sampler": ["midpoint.py", "conf/sampler/midpoint.yaml"],
    "data": ["rings.py", "conf/data/rings.yaml"],
    "extractor": ["grid.py", "conf/extractor/grid.yaml"],
    "metric": ["colour.py"],
}
"""All that each of the kinds needs, beside a line of pyproject.toml and its test."""

HERE = ["run=r", "device=cpu", "dtype=fp32", "sampler=midpoint", "sampler.steps=2"]
TRAIN = ["data=rings", "data.size=16", "data.count=32", "resolution=16", "codec=pixels",
         "text=none", "unet.widths=[16]", "unet.patch=2", "unet.groups=8", "unet.heads=2",
         "unet.blocks=[1]", "unet.depths=[0]", "unet.middle_depth=0", "unet.text_width=null",
         "batch_size=8", "held_out=2", "limit.pictures=16", "limit.minutes=null",
         "preview.prompts=[a]"]  # fmt: skip
MEASURE = ["metrics=[fd,dmtool-example:colour]", "extractor=grid", "count=8", "guidance.scale=1"]
CALLS = """
import json, sys
from dmtool.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["dmtool", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where the example package is installed, apart from all others."""
    folder = tmp_path_factory.mktemp("site")
    how = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", folder]
    pip = [sys.executable, "-m", "pip", "install", *how, PACKAGE]
    subprocess.run(pip, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def with_it(site):
    """The environment of a process that finds the package."""
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="module")
def made(with_it, tmp_path_factory):
    """The directory in which all was done by the package's kinds, and what was said."""
    folder = tmp_path_factory.mktemp("made")
    calls = [
        ["info", "--kinds"],
        ["train-unet", *HERE, *TRAIN],
        ["sample", "--prompt", "", *HERE],
        ["eval-fid", *HERE, *MEASURE],
    ]
    command = [sys.executable, "-c", CALLS, json.dumps(calls)]
    done = subprocess.run(command, cwd=folder, env=with_it, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_package_needs_one_module_and_one_config_a_kind(site):
    needed = {"__init__.py", *(name for names in FILES.values() for name in names)}
    folder = site / "dmtool_example"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    assert {name for name in found if "__pycache__" not in name} == needed


def test_they_are_listed_with_their_package(made):
    rows = [line.split(maxsplit=3) for line in made[1].splitlines() if "dmtool-example" in line]
    assert [row[:3] for row in rows[:4]] == [
        [group, "dmtool-example", "0.1"] for group in sorted(FILES)
    ]
    names = [row[3] for row in rows[:4]]
    assert names == ["rings", "grid", "dmtool-example:colour", "midpoint"]


def test_a_run_is_trained_sampled_and_measured_by_them(made):
    folder, said = made
    (picture,) = (folder / "runs/r/samples").glob("*.png")
    assert b"dmtool-example:midpoint" in picture.read_bytes()
    found = json.loads((folder / "runs/r/eval/fid-train.json").read_text())
    assert found["settings"]["sampler"]["kind"] == "dmtool-example:midpoint"
    assert found["settings"]["calls"] == 4
    figures = found["figures"]["all"]
    own = figures["dmtool-example:colour"]
    assert found["metric"] == "FD-grid-2"
    assert own["distance"] ** 2 == pytest.approx(figures["mean_term"], rel=1e-4)
    assert f"dmtool-example:colour-grid-2[N=8] distance {own['distance']:.4f}, largest" in said


def test_where_it_is_missing_its_run_is_refused_in_one_line(made, dmtool):
    folder, _ = made
    said = dmtool("eval-fid", "run=r", cwd=folder, code=2).stderr
    line = "data: the kind 'rings' is of the package 'dmtool-example', which is not installed"
    assert said.splitlines() == [f"dmtool: {line}: install it, or take another kind"]
    with pytest.raises(UserError, match=r"'sampler/midpoint'.*there are: ddim"):
        composed("sample", ["sampler=midpoint"])


def test_settings_that_were_kept_name_it_too(tmp_path):
    sampler = container(composed("sample"))["sampler"] | {"kind": "dmtool-example:midpoint"}
    kept = {"format": 2, "sha256": SHA, "sampler": sampler, "found": {}}
    (tmp_path / "defaults.json").write_text(json.dumps(kept))
    with pytest.raises(UserError, match="'midpoint' is of the package 'dmtool-example'"):
        defaults.load(tmp_path / "defaults.json")


def test_help_imports_nothing_of_it(with_it, tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "dmtool", "--help"]
    said = subprocess.run(command, cwd=tmp_path, env=with_it, capture_output=True, text=True).stderr
    assert "dmtool.cli" in said
    assert "dmtool_example" not in said and "dmtool.config.kinds" not in said


BROKEN = {"sampler.lost": "absent_module:X", "sampler.none": "json:dumps", "data.wrong": "wrong:IT"}
WRONG = """
from dataclasses import dataclass
from typing import Literal
from dmtool.config.base import Schema
from dmtool.config.kinds import Plugin

@dataclass(frozen=True, kw_only=True)
class Wrong(Schema):
    kind: Literal["broken:wrong"]

IT = Plugin(Wrong, print)
"""


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A package whose kinds are none."""
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Broken\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in BROKEN.items()]
    (info / "entry_points.txt").write_text("\n".join(["[dmtool.kinds]", *lines]))
    (tmp_path / "wrong.py").write_text(WRONG)
    monkeypatch.syspath_prepend(tmp_path)
    kinds.installed.cache_clear()
    kinds.conf_dirs.cache_clear()
    yield
    monkeypatch.undo()
    kinds.installed.cache_clear()
    kinds.conf_dirs.cache_clear()


@pytest.mark.parametrize(("word", "says"), [
    ("sampler.kind=broken:lost", "the package broken cannot be imported for its sampler 'lost': "
     "ModuleNotFoundError: No module named 'absent_module'"),
    ("sampler.kind=broken:none", "the package broken is broken: json:dumps, its sampler 'none', "
     "is no Plugin"),
    ("sampler.kind=broken:other", "has no kind 'other' of sampler (it has: lost, none)"),
    ("metrics=[fd,broken:x]", "has no kind 'x' of metric (it has: none)"),
    ("metrics=[fdd]", "metrics.0: 'fdd' is none of 'fd', 'floor'"),
])  # fmt: skip
def test_a_broken_package_is_named_in_one_line(broken, word, says):
    with pytest.raises(UserError) as error:
        validate(composed("eval_fid", [word]), EvalFid)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert validate(composed("eval_fid"), EvalFid).sampler.kind == "heun"  # others go on


def test_the_list_says_what_is_broken_or_hidden(broken, tmp_path):
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong.py").rename(tmp_path / "wrong/__init__.py")
    (tmp_path / "wrong/conf/sampler").mkdir(parents=True)
    (tmp_path / "wrong/conf/sampler/heun.yaml").write_text("kind: broken:heun\n")
    said = listing().splitlines()
    assert said[-3].startswith("the package broken cannot be imported for its sampler 'lost'")
    assert said[-2].startswith("the package broken is broken: json:dumps")
    assert said[-1] == "sampler=heun is dmtool's, and that of broken cannot be chosen"


def test_a_schema_of_another_group_is_refused(broken):
    values = container(composed("inspect", ["data=shapes"]).data) | {"kind": "broken:wrong"}
    with pytest.raises(UserError, match="the kind broken:wrong of data has a schema that is no"):
        check({"data": values}, HasData)
