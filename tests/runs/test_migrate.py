"""What older versions wrote stands for what they did, whatever today's defaults are."""

import json
from pathlib import Path

import pytest
from cards import PREDICTOR, UPSAMPLER
from omegaconf import OmegaConf

from dmtool import runs, text
from dmtool.config.stages import STAGES
from dmtool.config.using import HasData
from dmtool.config.validation import check, container, leaves
from dmtool.diffusion import denoise, network
from dmtool.errors import UserError
from dmtool.runs import migrate, saved
from dmtool.runs.migrate import Format, new

OLDER = Path(__file__).parents[1] / "older"
"""A run of format 1 (config.yaml) and 2 (card.json); see test_older.py."""

NEWEST = [("noise", "variance"), ("every", "evaluate"), ("", "evaluate"), ("data", "hold_out"),
          ("guidance", "perturbed")]  # fmt: skip
"""Keys that came while configs had no number; the stages were trained with what was before them."""


EXTRA = {"images": {"low_res": 3}, "levels": ["low_res_level"]}


def double(values):
    values["a"] *= 2


THREE = Format(unnumbered=1, steps={2: [new("a", 3)], 3: [double, new("s.b", [0])], 4: [double]})


@pytest.mark.parametrize(("version", "a"), [(1, 12), (2, 20), (3, 10), (4, 5)])
def test_it_goes_one_format_at_a_time(version, a):
    given = {"a": 5, "s": {}} if version > 1 else {"s": {}}
    found = THREE.read(given | {"format": version}, Path("x"))
    assert found["a"] == a and found["format"] == 4
    assert found["s"] == ({"b": [0]} if version < 3 else {})
    assert given["s"] == {}
    found["s"].setdefault("b", [0]).append(1)  # nobody else's list
    assert THREE.migrate({"s": {}}, 1)["s"] == {"b": [0]}


@pytest.mark.parametrize("number", [5, 0, None, "2", True, 2.0])
def test_what_cannot_be_read_is_refused_with_both_numbers(number):
    with pytest.raises(UserError, match=f"x has format {number}, this dmtool reads 1 to 4"):
        THREE.read({"format": number}, Path("x"))
    assert THREE.read({"s": {}}, Path("x"))["a"] == 12


@pytest.mark.parametrize(("values", "found"), [
    ({"s": {"kind": "x", "k": 0}}, {"s": {"kind": "x", "k": 0, "n": 1}}),
    ({"s": {"kind": "x", "k": 0, "n": 2}}, {"s": {"kind": "x", "k": 0, "n": 2}}),
    ({"s": {"kind": "y", "k": 0}}, {"s": {"kind": "y", "k": 0}}),
    ({"s": {"kind": "x"}}, {"s": {"kind": "x"}}),
    ({"s": "x"}, {"s": "x"}),
    ({}, {}),
])  # fmt: skip
def test_a_new_key_is_given_to_the_section_that_it_is_of(values, found):
    new("s.n", 1, kind="x", beside="k")(values)
    assert values == found


MOVED = {"loss.kl": "vae.beta"}


@pytest.mark.parametrize("stage", STAGES)
def test_an_older_config_is_one_of_today_and_keeps_what_it_says(stage, tmp_path):
    found = saved.read(OLDER / stage)
    check(found, STAGES[stage])  # every key of today has a value
    written = container(OmegaConf.load(OLDER / stage / saved.NAME))
    words = dict(leaves(written))
    assert "format" not in words
    words = {MOVED.get(key, key): value for key, value in words.items()}
    assert {key: value for key, value in leaves(found) if key in words} == words
    for section, key in NEWEST:  # as still older ones lack them
        (written.get(section, {}) if section else written).pop(key, None)
    OmegaConf.save(OmegaConf.create(written), tmp_path / saved.NAME)
    assert saved.read(tmp_path) == found


@pytest.mark.parametrize("stage", ["unet", "upsampler"])
def test_an_older_card_builds_what_it_built(stage):
    artifact = OLDER / stage / "artifacts/default"
    card = runs.load(artifact).card
    assert json.loads((artifact / "card.json").read_text())["format"] == 2
    built = network.build(card["network"], text.from_card(card["text"], folder=artifact))
    assert (card["role"], card["kind"]) == (STAGES[stage].role, "diffusion")
    assert card["network"]["outputs"] == 1 and denoise.build(built, card["noise"]).network is built


def test_the_format_before_said_noise_predictor_and_unet(tmp_path):
    unet = {key: value for key, value in PREDICTOR["network"].items() if key != "kind"}
    older = PREDICTOR | {"format": 4, "role": "noise predictor", "kind": "unet", "network": unet}
    path = tmp_path / "unet/artifacts/default"
    written = runs.save(path, {}, older)
    assert json.loads((path / "card.json").read_text())["role"] == "noise predictor"
    now = runs.save(tmp_path / "now", {}, PREDICTOR).card
    found = runs.find(str(tmp_path), "unet").card
    assert found == written.card == now | {runs.SEAL: found[runs.SEAL]}
    upsampler = UPSAMPLER | {"format": 4, "kind": "unet", "network": unet | EXTRA}
    assert runs.save(tmp_path / "up", {}, upsampler).card["kind"] == "diffusion"
    for key in ("role", "kind"):  # what is of one format, said in the other
        with pytest.raises(UserError, match=key):
            runs.save(path, {}, PREDICTOR | {key: older[key]})


def test_a_card_of_the_future_is_refused(tmp_path):
    now = migrate.CARD.now
    with pytest.raises(
        UserError, match=rf"format {now + 1}, this dmtool reads 2 to {now}: install"
    ):
        runs.save(tmp_path / "x", {}, PREDICTOR | {"format": now + 1})


def test_a_run_of_the_future_is_refused(tmp_path):
    saved.write(tmp_path, {"a": {"b": 1}})
    assert saved.read(tmp_path) == {"a": {"b": 1}}
    path, now = tmp_path / saved.NAME, migrate.CONFIG.now
    path.write_text(path.read_text().replace(f"format: {now}", f"format: {now + 1}"))
    with pytest.raises(UserError, match=rf"has format {now + 1}, .* reads 1 to {now}: install"):
        saved.read(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"config\.yaml is missing"):
        saved.read(tmp_path)


def test_what_a_file_says_is_not_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "7")
    written = (OLDER / "vae" / saved.NAME).read_text()
    (tmp_path / saved.NAME).write_text(written.replace("seed: 0", "seed: ${oc.env:SECRET}"))
    found = saved.read(tmp_path)
    assert found["seed"] == found["data"]["seed"] == "${oc.env:SECRET}"
    with pytest.raises(UserError, match=r"data\.seed='\$\{oc\.env:SECRET\}'"):
        check({"data": found["data"]}, HasData)
    (tmp_path / saved.NAME).write_text(written.replace("kind: shapes", "kind: ../text/minilm"))
    with pytest.raises(UserError, match="is none of 'emoji', 'shapes', 'folder'"):
        check({"data": saved.read(tmp_path)["data"]}, HasData)
