"""Tiny trainings on other noise processes, and their artifacts, guided as in `dmtool sample`."""

import numpy as np
import pytest
from cards import SHA
from tiny import trainer

import dmtool
from dmtool import runs
from dmtool.errors import UserError

SAMPLE = ["sampler=ddim", "sampler.steps=4", "upsample.use=never", "dtype=fp32"]
ZERO = ["noise=scaled_linear", "noise.zero_terminal_snr=true", "noise.prediction=v",
        "noise.c_noise=sd_zero_index"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with its noise predictor, `early`, a worse one, and two that do not fit it."""
    root = tmp_path_factory.mktemp("run")
    trainer("unet", root, "limit.pictures=16").run()
    good = runs.find(str(root), "unet")
    parent = {"path": "gone", "role": "autoencoder", "sha256": SHA}
    worse = {name: tensor * 0.9 for name, tensor in good.tensors().items()}
    others = {
        "early": {},
        "other_latent": {"space_id": SHA, "produces": "latents", "parents": {"vae": parent}},
        "other_noise": {"noise": {**good.card["noise"], "shift": 3.0}},
    }
    for name, changes in others.items():
        runs.save(good.path.with_name(name), worse, good.card | changes)
    return root


def load(run, *words):
    return dmtool.load(str(run), *SAMPLE, *words)


def count(chain):
    """Pictures that networks see, in a list that grows."""
    seen = []
    made = chain.generator
    for model in filter(None, (made.denoiser, made.bad and made.bad.denoiser, made.perturbed)):
        model.network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    return seen


@pytest.mark.parametrize(
    ("words", "evaluations"),
    [
        (["guidance.scale=1"], 4),
        (["guidance.scale=3"], 8),
        (["guidance.scale=3", "guidance.interval.low=0.9"], 7),  # t is 1, 3/4, 1/2, 1/4
        (["guidance.scale=3", "guidance.bad=early", "guidance.bad_scale=2"], 12),
        (["guidance.scale=1", "guidance.bad=early", "guidance.bad_scale=2",
          "guidance.interval.high=2"], 6),
        (["guidance=apg", "guidance.rescale=0.5"], 8),
        (["guidance.scale=1", "guidance.perturbed.scale=2"], 8),
        (["guidance.scale=3", "guidance.perturbed.scale=2", "guidance.interval.low=0.9"], 10),
    ],
)  # fmt: skip
def test_evaluations_are_those_that_were_made(run, words, evaluations):
    chain = load(run, *words)
    seen = count(chain)
    chain.sample("a red circle")
    assert sum(seen) == evaluations == chain.settings()["network_evaluations"]
    assert chain.settings()["guidance"]["scale"] == chain.generator.guidance.scale


def test_a_bad_model_changes_the_picture_and_is_named(run):
    plain, guided = load(run), load(run, "guidance.bad=early", "guidance.bad_scale=3")
    assert guided.settings()["bad"] == runs.find(str(run), "unet", name="early").card["sha256"]
    pictures = [np.asarray(chain.sample("a red circle")[0]) for chain in (plain, guided)]
    assert (pictures[0] != pictures[1]).any()
    other = load(run, f"from.bad={run}", "guidance.bad=early", "guidance.bad_scale=3")
    assert (np.asarray(other.sample("a red circle")[0]) == pictures[1]).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["guidance.bad=default"], "very model"),
        (["guidance.bad=other_latent"], "space_id aaaa"),
        (["guidance.bad=other_noise"], "same schedule"),
        (["guidance.bad=absent"], "there are: default, early"),
        (["guidance.bad=null"], "give both or neither"),
        (["guidance.bad=null", "guidance.bad_scale=null", "from.bad=x"], "name its artifact"),
    ],
)
def test_a_bad_model_that_does_not_fit_is_refused(run, words, said):
    with pytest.raises(UserError, match=said):
        load(run, "guidance.bad_scale=2", *words)


@pytest.mark.parametrize(
    ("words", "said"), [(["guidance.perturbed.levels=[3]"], "no level 3, only 0"),
                        (["guidance.perturbed.levels=[]"], "at least 1 item")],
)  # fmt: skip
def test_levels_that_are_not_there_are_refused(run, words, said):
    with pytest.raises(UserError, match=said):
        load(run, "guidance.perturbed.scale=2", *words)


@pytest.mark.parametrize("words", [["noise=edm"], ["noise=sigmoid"], ZERO], ids=lambda w: w[0])
def test_other_processes_train_and_sample(tmp_path, words):
    trainer("unet", tmp_path, "limit.pictures=16", "noise/weighting=p2", *words).run()
    chain = load(tmp_path, "sampler=heun")
    latent = [step.x for step in chain.steps([dmtool.chain.pipeline.Request("a", (0, 0))])][-1]
    assert latent.isfinite().all() and chain.sample("a")[0].size == (16, 16)
