"""What an artifact's defaults.json does to the words of the command line."""

import json

import pytest

from dmtool import defaults, runs
from dmtool.errors import UserError

WORDS = ["sampler=unipc", "sampler.steps=null", "sampler.calls=8", "guidance.scale=2.5"]


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "runs/mine/unet/artifacts/default"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"format": runs.FORMAT, "sha256": "ab"}))
    return runs.load(folder)


@pytest.fixture
def here(artifact, tmp_path):
    """The words that name the artifact's run."""
    return ["run=mine", f"root={tmp_path / 'runs'}"]


def test_words_belong_to_groups():
    words = {
        "sampler=heun": "sampler",
        "sampler/grid=karras": "sampler",
        "sampler.grid.rho=5": "sampler",
        "+sampler.x=1": "sampler",
        "sampler@upsample.sampler=heun": "upsample",
        "upsample.sampler.steps=4": "upsample",
        "guidance=apg": "guidance",
        "-m": "-m",
    }
    assert {word: defaults.group(word) for word in words} == words


def test_the_users_words_replace_those_of_their_group(artifact, here):
    defaults.write(artifact, WORDS, {"why": "a test"})
    assert defaults.read(artifact) == defaults.Defaults(WORDS, {"why": "a test"})
    assert defaults.used("sample", here) == WORDS
    assert defaults.used("eval_fid", [*here, "split=test"]) == WORDS
    assert defaults.used("sample", [*here, "sampler/grid=karras"]) == WORDS[3:]
    assert defaults.used("sample", [*here, "guidance.rescale=1"]) == WORDS[:3]
    assert defaults.used("sample", [*here, "sampler@upsample.sampler=heun"]) == WORDS
    assert defaults.used("sample", [*here, "tuned=false"]) == []
    assert defaults.used("sample", ["-m", here[1], "run=mine,other"]) == []
    assert defaults.used("sample", ["run=nope"]) == []
    assert defaults.added("sample", here) == [*WORDS, *here]


def test_those_of_other_weights_are_not_used(artifact, here):
    file = defaults.write(artifact, WORDS, {})
    file.write_text(file.read_text().replace('"ab"', '"cd"'))
    assert defaults.read(artifact) is None and defaults.used("sample", here) == []
    file.write_text("{}")
    with pytest.raises(UserError, match="is damaged: delete it"):
        defaults.used("sample", here)
