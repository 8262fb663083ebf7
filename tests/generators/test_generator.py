"""Generators of another kind: the chain asks of them what all can do, and says what they cannot."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from cards import PREDICTOR, UPSAMPLER
from PIL import Image
from torch import Tensor

import dmtool
from dmtool import runs
from dmtool.chain import sample as sampling
from dmtool.chain.edit import Edit
from dmtool.chain.options import MaskFrom, SampleOptions
from dmtool.chain.prompts import Wildcards
from dmtool.config.compose import composed
from dmtool.config.tuning import TuneSampler
from dmtool.config.using import EvalNll, HasData, SampleConfig
from dmtool.config.validation import check, container, validate
from dmtool.data import source
from dmtool.errors import UserError
from dmtool.generators import kinds
from dmtool.measure import tune
from dmtool.measure.likelihood import nll
from dmtool.runs import saved
from dmtool.text import TextEncoder
from dmtool.text.encoder import NoTextEncoder
from dmtool.upsamplers import kinds as upsamplers


class Half(NamedTuple):
    x: Tensor
    x_0: Tensor


@dataclass(frozen=True)
class Grey:
    """Fulfils `Trained` and `Generator`, and nothing else: seed i is the grey value i."""

    name: str
    card: dict
    kind: str = "grey"
    text: TextEncoder = field(default_factory=NoTextEncoder)
    heeds_negatives: bool = False

    def generator(self, config):
        return self

    def paint(self, requests):
        size = self.card["resolution"]
        rows = [torch.full((3, size, size), r.key[0] / 127.5 - 1) for r in requests]
        codes = torch.stack(rows)
        yield Half(torch.zeros_like(codes), codes)
        yield Half(codes, codes)

    def settings(self):
        return {"greys": 256}

    def line(self):
        return "256 greys"

    def hearing(self, wrap):
        return replace(self, text=wrap(self.text, None))


@pytest.fixture
def run(tmp_path, monkeypatch):
    runs.save(tmp_path / "unet/artifacts/default", {"x": torch.zeros(1)}, PREDICTOR)
    monkeypatch.setitem(
        kinds.KINDS, "diffusion", lambda found, _: Grey(str(found.path), found.card)
    )
    return str(tmp_path)


def test_a_generator_of_another_kind_is_sampled(run):
    chain = dmtool.load(run, "dtype=fp32", "device=cpu")
    pictures = chain.sample("", n=2, seed=77)
    assert len(pictures) == 2 and all((np.asarray(each) == 77).all() for each in pictures)
    assert chain.settings() == {"greys": 256, "dtype": "float32", "upsampled": False}


def test_the_command_says_what_its_pictures_cost(run, capsys):
    nothing = dict.fromkeys(("out", "init", "mask", "outpaint", "vary", "frames", "to_seed"))
    options = SampleOptions(
        prompts=[""], wildcards=Wildcards(None), n=3, index=0, negative="", film=True,
        mask_from=MaskFrom.WHITE, **nothing,
    )  # fmt: skip
    words = [f"run={run}", "seed=9", "dtype=fp32", "device=cpu"]
    sampling.sample(validate(composed("sample", words), SampleConfig), options)
    assert capsys.readouterr().out.endswith("-sheet.png); 256 greys\n")
    files = sorted((Path(run) / "samples").iterdir())
    assert [np.unique(Image.open(file)).tolist() for file in files] == [[9]] * 3
    assert len(list((Path(run) / "samples-film").iterdir())) == 6


class Twice:
    """Fulfils `Upsampler`: each pixel becomes four."""

    factor = 2

    def __call__(self, small, prompts, sources, given=None):
        return small.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def hearing(self, wrap):
        return self


def test_an_upsampler_of_another_kind_follows_it(run, monkeypatch):
    runs.save(Path(run) / "upsampler/artifacts/default", {"x": torch.zeros(1)}, UPSAMPLER)
    monkeypatch.setitem(upsamplers.KINDS, "diffusion", lambda *_: Twice())
    chain = dmtool.load(run, "dtype=fp32", "device=cpu")
    (large,) = chain.sample("", seed=5)
    assert large.size == (16, 16) and (np.asarray(large) == 5).all()
    assert chain.settings()["upsampled"]


@dataclass(frozen=True)
class Even:
    """Fulfils `Density`: all of 256 values are equally probable."""

    unit = "picture"

    def bits(self, codes, captions, keys):
        assert len(codes) == len(captions) == len(keys) and codes.shape[1:] == (3, 16, 16)
        return {"even": torch.full((len(codes),), 8.0)}

    def result(self, figures):
        mean = torch.stack([each["even"] for each in figures]).mean().item()
        return {"figures": {"even": mean}, "protocol": {"values": 256}}

    def lines(self, result):
        return [f"  even: {result['figures']['even']:g}"]


class GreyWithDensity(Grey):
    def density(self, config, space):
        assert space.bins == 2 / 255
        return Even()


def test_a_density_of_another_kind_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    config = container(composed("train_unet", ["data=shapes", "data.count=12", "data.size=16"]))
    saved.write(tmp_path / "unet", config)
    pictures = source.load(check({"data": config["data"]}, HasData).data)
    data = PREDICTOR["data"] | {"fingerprint": pictures.fingerprint, "pictures": 12}
    card = PREDICTOR | {"data": data, "resolution": 16, "latent": {"channels": 3, "size": 16}}
    runs.save(tmp_path / "unet/artifacts/default", {"x": torch.zeros(1)}, card)
    monkeypatch.setitem(
        kinds.KINDS, "diffusion", lambda found, _: GreyWithDensity(str(found.path), found.card)
    )
    words = [f"run={tmp_path}", "split=train", "count=5", "batch_size=2", "device=cpu"]
    nll.run(validate(composed("eval_nll", words), EvalNll), tmp_path / "nll.json")
    found = json.loads((tmp_path / "nll.json").read_text())
    assert (found["n"], found["figures"], found["protocol"]["values"]) == (5, {"even": 8.0}, 256)
    assert found["metric"].endswith("bits per picture dimension")
    assert "dimension\n  even: 8\n" in capsys.readouterr().out


def edited(run):
    dmtool.load(run).sample("", edit=Edit.read(Image.new("RGB", (8, 8)), 0.5))


def tuned(run):
    tune.run(validate(composed("tune_sampler", [f"run={run}"]), TuneSampler), None)


def measured(run):
    nll.run(validate(composed("eval_nll", [f"run={run}"]), EvalNll), None)


@pytest.mark.parametrize(("command", "act", "lacks"), [
    ("eval-nll", measured, "a density"),
    ("--init", edited, "a generator that can begin with a picture"),
    ("tune-sampler", tuned, "a sampler's steps"),
])  # fmt: skip
def test_what_it_cannot_do_is_said_in_one_line(run, command, act, lacks):
    with pytest.raises(UserError) as refused:
        act(run)
    where = f"{run}/unet/artifacts/default"
    assert str(refused.value) == f"`{command}` needs {lacks}; {where} is a grey generator"
