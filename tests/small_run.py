"""A run of all three stages, a set of pictures and statistics, as small as they can be, and what is
done with them: for tests that damage their files."""

import json

import numpy as np
import torch
from cards import SHA
from tiny import trainer

import dmtool
from dmtool import codecs, runs
from dmtool.config.compose import composed
from dmtool.config.using import Upscale
from dmtool.config.validation import validate
from dmtool.data import source
from dmtool.look import info
from dmtool.look.health import check as health
from dmtool.look.report import page
from dmtool.look.watch import live
from dmtool.measure.features import statistics
from dmtool.measure.features.features import FeatureExtractor
from dmtool.runs import saved
from dmtool.train import start
from dmtool.upsamplers import kinds

CPU = torch.device("cpu")
SAMPLE = ["sampler=euler", "sampler.steps=1", "upsample.use=never", "dtype=fp32", "device=cpu"]
BPE = ["text.tokenizer=bpe", "text.vocabulary=300"]


def train(root):
    """All three stages, the noise predictor's on latents."""
    short = "limit.pictures=32"
    for begin in (
        lambda: trainer("vae", root, short, "vae.latent_channels=2"),
        lambda: unet(root),
        lambda: trainer("upsampler", root, short, "text=none"),
    ):
        begun = begin()
        saved.write(begun.context.folder, start._complete(begun.config))
        begun.run()


def unet(root):
    """The trainer of a noise predictor on latents."""
    often = ["every.snapshot=16", "every.checkpoint=16", "ema.sigma_rel=0.1"]
    words = ["limit.pictures=32", "codec=vae", "unet.patch=1", f"from.vae={root}"]
    return trainer("unet", root, *words, *BPE, *often)


def card_of(run, stage):
    return run / stage / "artifacts/default/card.json"


def forged(run, stage, change, sealed=False):
    """The card with what `change(card)` does; without its digest, as anybody can write one."""
    path = card_of(run, stage)
    card = json.loads(path.read_text())
    if not sealed:
        del card[runs.SEAL]
    change(card)
    path.write_text(json.dumps(card))


def used(run, stage):
    """What a stage's artifact does, as bytes."""
    about = info.describe(str(run), ".")
    if stage == "unet":
        return np.asarray(dmtool.load(str(run), *SAMPLE).sample("a red circle")[0]).tobytes(), about
    artifact = runs.find(str(run), stage)
    small = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)
    if stage == "vae":
        codec = codecs.load(artifact, CPU)
        return codec.decode(codec.encode(small)).numpy().tobytes(), about
    config = validate(composed("upscale", ["run=x", "sampler=euler", "sampler.steps=1"]), Upscale)
    upsampler = kinds.load(artifact, None, config.sampler, CPU)
    return upsampler(small, [""], [(0, 0)]).numpy().tobytes(), about


def looked(run):
    """All that only looks at a run."""
    live.once(str(run), "unet", ".")
    health.check(str(run), "unet", ".", None)
    return page.render([page.contents.look(str(run), ".")], force=True)


def read_all(config):
    found = source.load(config)
    rows = found.dataset.with_format("arrow")[:]
    return found.fingerprint, found.bad, found.attribution, rows.to_pylist()


STATISTICS = {"mu": np.zeros(6), "sigma": np.eye(6), "n": np.int64(20)}


def read_statistics(path):
    extractor = FeatureExtractor(
        kind="test", name="FD-six", sha256=SHA, dim=6, protocol={}, device=CPU,
        prepare=lambda images: images, network=torch.nn.Flatten(),
    )  # fmt: skip
    found = statistics.read(path, extractor, 4)
    moments = found.moments()
    return found.n, moments.mean.tobytes(), moments.covariance.tobytes()
