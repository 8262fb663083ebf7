"""Trainings with a learned variance and weighting, and what is made of their artifacts."""

import json
import math
import shutil

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny import trainer

import dmtool
from dmtool import codecs, runs
from dmtool.config import compose
from dmtool.config.parts import DataPlace
from dmtool.config.using import EvalNll
from dmtool.config.validation import validate
from dmtool.data.transforms import to_tensor
from dmtool.errors import UserError
from dmtool.files.atomic import write_text
from dmtool.measure import real_pictures
from dmtool.measure.likelihood import nll
from dmtool.train import start

PLAIN = ["noise=cosine", "noise/variance=learned", "optim=muon", "optim.matrices=all",
         "limit.pictures=32", "every.checkpoint=16", "keep.last=9"]  # fmt: skip
WORDS = [*PLAIN, "noise/weighting=learned"]
SAMPLE = ["sampler=ddpm", "sampler.steps=4", "sampler.variance=learned", "dtype=fp32"]


def trained(stage, root, *words):
    """A training from begin to end, with the config that says which pictures it saw."""
    made = trainer(stage, root, *words)
    made.run()
    complete = OmegaConf.create(start._complete(made.config))
    write_text(root / stage / "config.yaml", OmegaConf.to_yaml(complete))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    trained("unet", root, *WORDS, "sampler=ddpm", "sampler.variance=learned")
    return root


def newest(root):
    return load_file(root / f"unet/checkpoints/{32:012d}/model.safetensors")


def test_the_uncertainty_is_in_checkpoints_and_not_in_artifacts(run):
    assert newest(run)["uncertainty.weight"].abs().min() > 0
    artifact = runs.find(str(run), "unet")
    assert set(artifact.tensors()) == set(newest(run)) - {"uncertainty.weight"}
    assert artifact.card["noise"]["variance"] == "learned"


def test_it_resumes_exactly(run, tmp_path):
    shutil.copytree(run / "unet", tmp_path / "unet")
    shutil.rmtree(tmp_path / f"unet/checkpoints/{32:012d}")
    resumed = trainer("unet", tmp_path, *WORDS)
    assert resumed.progress.pictures == 16
    resumed.run()
    ours, theirs = newest(tmp_path), newest(run)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_muon_sorts_the_others_as_without_it_and_it_has_no_decay(tmp_path):
    def sorted_(*words):
        made = trainer("unet", tmp_path, *words)
        names = {id(weight): name for name, weight in made.stage.network.named_parameters()}
        groups = [group for each in made.context.state.main.optimizers
                  for group in each.param_groups]  # fmt: skip
        return [(g["weight_decay"], [names[id(p)] for p in g["params"]]) for g in groups]

    plain, learned = sorted_(*PLAIN), sorted_(*WORDS)
    (its_group,) = [group for group in learned if "uncertainty.weight" in group[1]]
    assert its_group[0] == 0 and learned.index(its_group) < len(learned) - 1  # AdamW's
    its_group[1].remove("uncertainty.weight")
    assert learned == plain


@pytest.mark.parametrize("scale", [1, 3])
def test_pictures_are_sampled_with_the_learned_variance(run, scale):
    chain = dmtool.load(str(run), *SAMPLE, f"guidance.scale={scale}")
    assert chain.settings()["network_evaluations"] == (4 if scale == 1 else 8)
    assert chain.sample("a red circle")[0].size == (16, 16)


def test_a_model_that_has_not_learned_it_is_refused_and_may_begin_such_a_training(tmp_path):
    plain = tmp_path / "plain"
    trainer("unet", plain, "noise=cosine", "limit.pictures=16").run()
    with pytest.raises(UserError, match="noise/variance=learned in training"):
        dmtool.load(str(plain), *SAMPLE).sample("a red circle")
    artifact = runs.find(str(plain), "unet")
    old = {name: value for name, value in artifact.card["network"].items() if name != "outputs"}
    card = artifact.card | {"network": old, "format": 2}
    runs.save(artifact.path.with_name("old"), artifact.tensors(), card)
    assert dmtool.load(str(plain), "artifact=old", "sampler.steps=2").sample("a")
    words = ["noise=cosine", "noise/weighting=learned", "limit.pictures=16"]
    stage = trainer("unet", tmp_path / "new", *words).stage
    start._start_from(stage, artifact)
    weight = stage.network.unet.conv_in.weight
    assert torch.equal(weight, artifact.tensors()["unet.conv_in.weight"])


def measured(root, *words):
    config = compose.composed("eval_nll", ["split=train", "count=6", "device=cpu", *words])
    nll.run(validate(config, EvalNll), root / "out.json")
    return json.loads((root / "out.json").read_text())


def test_the_likelihood_of_a_run_is_its_pictures_own(run, capsys):
    words = [f"run={run}", "bound.steps=5", "flow.steps=2"]
    found, again = (measured(run, *words, f"batch_size={size}") for size in (6, 4))
    figures, protocol = found["figures"], found["protocol"]
    for part in ("bound", "flow"):
        for statistic, value in figures[part]["bits"].items():
            assert again["figures"][part]["bits"][statistic] == pytest.approx(value, rel=1e-4)
    assert found["metric"].endswith("bits per picture dimension") and found["n"] == 6
    assert protocol["bound"]["variance"] == "learned" and protocol["bound"]["calls"] == 5
    terms = (figures["bound"][name]["mean"] for name in ("prior", "steps", "decoder"))
    assert sum(terms) == pytest.approx(figures["bound"]["bits"]["mean"])
    assert sum(found["terms"]["bits"]) == pytest.approx(figures["bound"]["steps"]["mean"])
    assert len(found["terms"]["bits"]) == 4 and protocol["flow"]["calls"] == 8
    said = capsys.readouterr().out
    assert (
        "6 pictures of the split 'train', negative log-likelihood, bits per picture dimension"
        in said
    )
    alone = measured(run, *words, "count=1")["figures"]["bound"]["bits"]
    assert alone["standard_error"] is None and "nan" not in capsys.readouterr().out


@pytest.mark.parametrize("space", ["pixels", "latents"])
def test_a_network_that_says_nothing_makes_standard_normal_pictures(tmp_path, space):
    """v = 0 leaves the flow's state as it is. The values' density is then that of a normal, in the
    units of pixels' 255 steps or of latents before they were whitened."""
    words = ["noise=cosine", "limit.pictures=8"]
    if space == "latents":
        trainer("vae", tmp_path, "limit.pictures=16").run()
        words += ["codec=vae", f"from.vae={tmp_path}"]
    trained("unet", tmp_path, *words)
    artifact = runs.find(str(tmp_path), "unet")
    silent = {name: x * ("conv_out" not in name) for name, x in artifact.tensors().items()}
    runs.save(artifact.path, silent, artifact.card)
    found = measured(tmp_path, f"run={tmp_path}", "bound=null", "flow.steps=3", "flow.high=1e4")
    vae = runs.find(str(tmp_path), "vae") if space == "latents" else None
    codec = codecs.load(vae, torch.device("cpu"))
    size = artifact.card["resolution"]
    real = real_pictures.of_run(artifact.card, tmp_path / "unet", DataPlace(path=None), size)
    x = codec.encode(to_tensor(real.take(real.rows(6, "train"))))
    nats = (x.square().mean().item() + math.log(2 * math.pi)) / 2
    scale = math.log2(127.5)
    if vae:
        stds = vae.card["latent"]["whitening"]["std"]
        scale = sum(map(math.log2, stds)) / len(stds)
        assert found["protocol"]["whitening_bits"] == pytest.approx(scale, rel=1e-5)
        assert found["metric"].endswith("bits per latent dimension")
    expected = nats / math.log(2) + scale
    assert found["figures"]["flow"]["bits"]["mean"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bound=null", "flow=null"], "both null"),
        (["sampler/grid@bound.grid=trailing", "bound.grid.last=first"], "bound.grid.last=zero"),
        (["flow.low=2", "flow.high=1"], "low=2.0 is not below high=1.0"),
        (["flow.probe=uniform"], "flow.probe="),
        (["flow.stepps=3"], "unknown key 'flow.stepps'"),
    ],
)
def test_settings_without_meaning_are_refused(tmp_path, words, said):
    with pytest.raises(UserError, match=said):
        measured(tmp_path, *words)
