"""What an artifact's defaults.json does to a sampling's config, and what it cannot do."""

import json

import pytest
from cards import PREDICTOR, SHA

from dmtool import runs
from dmtool.config import words
from dmtool.config.compose import composed
from dmtool.config.using import Defaults, EvalFid, SampleConfig
from dmtool.config.validation import check, container, validate
from dmtool.errors import UserError
from dmtool.runs import defaults

SAID = ["sampler=unipc", "sampler.steps=null", "sampler.calls=8", "sampler/grid=karras",
        "sampler.grid.low=0.05", "guidance=apg", "guidance.scale=2.5",
        "guidance.perturbed={scale: 0.5, levels: [0]}"]  # fmt: skip


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "runs/mine/unet/artifacts/default"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(
        json.dumps(PREDICTOR | {"format": runs.FORMAT, "sha256": SHA})
    )
    return runs.load(folder)


@pytest.fixture
def begun(tmp_path):
    """The config of `dmtool sample` of the artifact's run with further words."""

    def config(*said, name="sample", schema=SampleConfig):
        said = [f"root={tmp_path / 'runs'}", "run=mine", *said]
        return defaults.tuned(composed(name, said), said, schema)

    return config


def sampled(*said):
    return validate(composed("sample", said), SampleConfig)


def settings(*said):
    made = sampled(*said)
    return Defaults(sampler=made.sampler, guidance=made.guidance, upsample=None)


def test_words_belong_to_groups():
    found = {
        "sampler=heun": "sampler",
        "sampler/grid=karras": "sampler",
        "sampler.grid.rho=5": "sampler",
        "+sampler.x=1": "sampler",
        "sampler@upsample.sampler=heun": "upsample",
        "upsample.sampler.steps=4": "upsample",
        "guidance=apg": "guidance",
        "-m": "-m",
    }
    assert {word: defaults.group(word) for word in found} == found


def test_what_the_user_says_replaces_what_is_stored_of_its_group(artifact, begun, capsys):
    stored, plain = settings(*SAID), sampled()
    defaults.write(defaults.file(artifact), artifact, stored, {"why": "a test"})
    assert defaults.read(artifact) == defaults.DefaultsFile(SHA, stored, {"why": "a test"})
    config = begun()
    assert (config.sampler, config.guidance) == (stored.sampler, stored.guidance)
    assert "defaults of this artifact: sampler=unipc" in capsys.readouterr().err
    assert begun("split=test", name="eval_fid", schema=EvalFid).sampler == stored.sampler
    config = begun("sampler/grid=log_snr")
    assert (config.sampler, config.guidance) == (
        sampled("sampler/grid=log_snr").sampler,
        stored.guidance,
    )
    config = begun("guidance.rescale=1")
    assert (config.sampler, config.guidance.scale) == (stored.sampler, plain.guidance.scale)
    assert begun("sampler@upsample.sampler=heun").sampler == stored.sampler
    assert begun("tuned=false").sampler == plain.sampler
    assert begun("artifact=nope").sampler == plain.sampler


def test_stored_upsampling_says_how_and_not_whether(artifact, begun):
    said = ["upsample.augmentation=0.2", "sampler@upsample.sampler=ddim",
            "sampler/grid@upsample.sampler.grid=karras", "upsample.sampler.steps=3",
            "sampler/threshold@upsample.sampler.threshold=dynamic"]  # fmt: skip
    made = sampled(*said).upsample
    given = {"augmentation": made.augmentation, "sampler": container(composed("sample", said))
             ["upsample"]["sampler"]}  # fmt: skip
    stored = check({"sampler": None, "guidance": None, "upsample": given}, Defaults)
    defaults.write(defaults.file(artifact), artifact, stored, {})
    assert begun().upsample == made
    assert begun("upsample.use=never").upsample.sampler == sampled().upsample.sampler
    assert sampled(*words.of_defaults(stored)).upsample == made


@pytest.mark.parametrize("said", [
    SAID, ["sampler/grid=levels", "sampler.grid.levels=[null,3.14159265,1e-3,0.0]"],
    ["sampler/threshold=dynamic", "sampler.threshold.percentile=99"],
    ["sampler=restart", "sampler.low=0.2", "guidance.bad_scale=2",
     "guidance.bad='a \\'b\\' \\\\'"],
])  # fmt: skip
def test_shown_words_make_the_settings(said):
    stored = settings(*said)
    shown = words.of_defaults(stored)
    assert settings(*shown) == stored


def test_a_new_option_has_its_usual_value_in_an_older_file(artifact, begun):
    path = defaults.file(artifact)
    for given in ([*SAID, "sampler/threshold=dynamic"], SAID):
        defaults.write(path, artifact, settings(*given), {})
        content = json.loads(path.read_text())
        del content["sampler"]["order"], content["guidance"]["rescale"], content["upsample"]
        if given is SAID:
            del content["sampler"]["threshold"]
        else:
            del content["sampler"]["threshold"]["bound"]
        path.write_text(json.dumps(content))
        assert begun().sampler == settings(*given).sampler
        assert begun().guidance == settings(*given).guidance


def test_files_with_words_are_read_as_settings(artifact, begun):
    old = {"sha256": SHA, "words": SAID, "found": {"by": "an older dmtool"}}
    defaults.file(artifact).write_text(json.dumps(old))
    assert begun().sampler == settings(*SAID).sampler
    assert begun().guidance == settings(*SAID).guidance
    assert defaults.read(artifact).settings.upsample is None
    defaults.file(artifact).write_text(json.dumps(old | {"words": ["guidance.scale=1e-3"]}))
    assert begun().guidance == sampled("guidance.scale=1e-3").guidance
    assert defaults.read(artifact).settings.sampler is None


def test_those_of_other_weights_are_not_used(artifact, begun):
    path = defaults.file(artifact)
    defaults.write(path, artifact, settings(*SAID), {})
    path.write_text(path.read_text().replace(SHA, "cd"))
    assert defaults.read(artifact) is None and begun().sampler == sampled().sampler
    for damaged in (
        "{}",
        "[1]",
        "{",
        "[" * 100_000,
        json.dumps({"sha256": SHA, "words": 3, "found": {}}),
    ):
        path.write_text(damaged)
        with pytest.raises(UserError, match=r"defaults.json is .*delete it"):
            begun()
        assert begun("tuned=false").sampler == sampled().sampler


ATTACKS = [
    "hydra.run.dir=CANARY",
    "hydra.searchpath=[file://CANARY]",
    "+hydra.callbacks.x={_target_: pathlib.Path.touch, self: CANARY}",
    "+hydra.callbacks.x._target_=pathlib.Path",
    "hydra/launcher=joblib",
    "-m",
    "--config-dir=CANARY",
    "--multirun",
    "root=CANARY",
    "run=other",
    "sampler=../../CANARY",
    "sampler=heun,euler",
    "sampler.steps=choice(1,2)",
    "sampler._target_=os.system",
    "sampler.grid._target_=os.system",
    "+sampler.x=1",
    "~sampler",
    "guidance.bad=${oc.env:HOME}",
    "guidance={bad: ${oc.env:HOME}}",
    "guidance.bad=../../../other",
    "upsample.artifact=other",
    "tuned=false",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ["words", "key", "value"])
def test_nothing_but_settings_comes_from_a_file(artifact, tmp_path, attack, kind):
    """Neither as a word of the former format, nor as a key or a value of this one."""
    canary = tmp_path / "canary"
    attack = attack.replace("CANARY", str(canary))
    key, _, value = attack.partition("=")
    content = {"sha256": SHA, "words": ["sampler.steps=9", attack], "found": {}}
    if kind != "words":
        content = {"format": 2, "sha256": SHA, "found": {}}
        content |= {key: value} if kind == "key" else {"sampler": {"kind": attack, "grid": {}}}
    defaults.file(artifact).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"defaults\.json is no file of defaults: "):
        defaults.read(artifact)
    assert not canary.exists()


def test_no_interpolation_of_a_file_is_filled_in(artifact, begun, monkeypatch):
    monkeypatch.setenv("SECRET", "7")
    path = defaults.file(artifact)
    defaults.write(path, artifact, settings(*SAID), {})
    content = json.loads(path.read_text())
    content["guidance"]["scale"] = "${oc.env:SECRET}"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"guidance\.scale='\$\{oc\.env:SECRET\}'"):
        begun()
    content["guidance"] |= {"scale": 2, "bad": "../../../other", "bad_scale": 2}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is no name of an artifact"):
        begun()
