"""Figures of the pictures that a stage makes while it trains, and the best weights by them."""

import pytest
import tiny
import torch
from omegaconf import OmegaConf
from torch.nn import functional

from dmtool import runs
from dmtool.config import compose
from dmtool.config.stages import TrainUnet
from dmtool.config.using import EvalFid
from dmtool.config.validation import validate
from dmtool.errors import UserError
from dmtool.measure import fid
from dmtool.measure.features import extractors
from dmtool.measure.features.features import FeatureExtractor
from dmtool.processes import ALONE
from dmtool.runs import metrics

WORDS = ["data.val=0.3", "limit.pictures=40", "every.evaluate=16", "evaluate.count=7",
         "evaluate.metrics=[fd,kid,manifold,retrieval]", "keep.best=eval_fd"]  # fmt: skip
NAMES = {"eval_fd", "eval_kid", "eval_precision", "eval_recall", "eval_density", "eval_coverage",
         "eval_r@1", "eval_r@10"}  # fmt: skip


@pytest.fixture(autouse=True)
def coarse(monkeypatch, tmp_path):
    """Features that cost nothing: pictures of 4 x 4 pixels, in float32 whatever is autocast."""

    def load(_, device):
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 6))
        with torch.no_grad():
            network[1].weight.copy_(torch.randn(6, 48, generator=torch.Generator().manual_seed(0)))
            network[1].bias.zero_()
        return FeatureExtractor(
            kind="test", name="FD-test", sha256="0" * 64, dim=6, protocol={}, device=device,
            prepare=lambda images: functional.adaptive_avg_pool2d(images, 4), network=network,
        )  # fmt: skip

    monkeypatch.setattr(extractors, "load", load)
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))


def trained(stage, folder, *words):
    trainer = tiny.trainer(stage, folder, *WORDS, *words)
    trainer.run()
    lines = metrics.read(folder / stage / metrics.NAME)
    return [line for line in lines if "eval_fd" in line]


@pytest.mark.parametrize("stage", ["vae", "unet", "upsampler"])
def test_each_stage_measures_its_pictures_and_keeps_the_best(tmp_path, stage):
    lines = trained(stage, tmp_path / "runs" / "a", "optim.lr=0.1")
    assert [line["pictures"] for line in lines] == [16, 32, 40]
    assert all(set(line) == {"pictures", "seconds", *NAMES} for line in lines)
    assert len({line["eval_fd"] for line in lines}) == 3
    best = min(lines, key=lambda line: line["eval_fd"])
    names = "best", "default"
    cards = {name: runs.find("a", stage, tmp_path / "runs", name).card for name in names}
    assert cards["best"]["pictures_seen"] == best["pictures"]
    assert cards["best"]["metrics"]["eval_fd"] == best["eval_fd"]
    assert cards["default"]["metrics"]["eval_fd"] == lines[-1]["eval_fd"]


def test_the_figure_is_the_one_that_eval_fid_finds(tmp_path):
    """On the same captions with the same seed, sampler and guidance, from the exported weights."""
    (line,) = trained("unet", tmp_path / "runs" / "a", "every.evaluate=40", "sampler.steps=2",
                      "evaluate.max_real=12")  # fmt: skip
    words = ["run=a", f"root={tmp_path / 'runs'}", "split=val", "count=7", "sampler.steps=2",
             "dtype=fp32", "metrics=[fd,kid,retrieval]", "max_real=12"]  # fmt: skip
    data = compose.composed("train_unet", [*tiny.COMMON, *WORDS]).data
    saved = OmegaConf.to_yaml(OmegaConf.create({"data": data}))
    (tmp_path / "runs" / "a" / "unet" / "config.yaml").write_text(saved)
    config = validate(compose.composed("eval_fid", words), EvalFid)
    found = fid.measure(config, ALONE)["figures"]["all"]
    for name in ("fd", "kid", "r@1", "r@10"):
        assert line[f"eval_{name}"] == pytest.approx(found[name], rel=1e-4)
    assert found["n_fake"] == 7 and found["n_real"] == 40 and found["n_real_drawn"] == 12


def test_what_is_never_measured_is_no_figure_to_keep_the_best_by():
    def config(*words):
        return validate(compose.composed("train_unet", words), TrainUnet)

    assert config().every.evaluate is None
    with pytest.raises(UserError, match=r"every.evaluate=PICTURES measures more"):
        config("keep.best=eval_fd")
    with pytest.raises(UserError, match=r"keep.best=eval_fd is none of val_loss, eval_kid"):
        config("keep.best=eval_fd", "every.evaluate=100", "evaluate.metrics=kid")
    assert config("keep.best=eval_kid", "every.evaluate=100").keep.best == "eval_kid"
