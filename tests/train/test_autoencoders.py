"""Every kind of autoencoder is trained, resumed, and generated from."""

from typing import get_args, get_type_hints

import pytest
import torch
from small_run import unet
from tiny import trainer

import dmtool
from dmtool import runs
from dmtool.codecs.codec import load
from dmtool.config.vae import Vae
from dmtool.errors import UserError
from dmtool.files.tensors import read_tensors
from dmtool.nn.autoencoder import KINDS
from dmtool.train.stages import penalties

OWN = {
    "ae": ["vae=ae", "vae.latent_channels=2"],
    "kl": ["vae=small", "vae.latent_channels=2", "vae.free_bits=1", "vae.warmup=32"],
    "sparse": ["vae=sparse", "vae.latent_channels=4"],
    "fsq": ["vae=fsq", "vae.levels=[8,5]"],
    "vq": ["vae=vq", "vae.latent_channels=2", "vae.codes=16", "vae.decay=0.8"],
}
WORDS = ["optim.schedule=constant", "every.checkpoint=32"]


def newest(folder):
    """All tensors of the newest checkpoint."""
    path = max((folder / "vae/checkpoints").glob("[0-9]*"))
    return {(file.name, name): tensor for file in sorted(path.glob("*.safetensors"))
            for name, tensor in read_tensors(file).items()}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_resumes_bit_for_bit_and_its_code_is_generated(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    trainer("vae", straight, *OWN[kind], *WORDS, "limit.pictures=96").run()
    for limit in (32, 96):
        trainer("vae", cut, *OWN[kind], *WORDS, f"limit.pictures={limit}").run()
    expected, found = newest(straight), newest(cut)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)

    artifact = runs.find(str(straight), "vae")
    assert artifact.card["kind"] == kind
    codec, x = load(artifact, torch.device("cpu")), torch.rand(2, 3, 16, 16) * 2 - 1
    assert codec.encode(x).shape == (2, *codec.space.shape(16))
    assert codec.decode(codec.encode(x)).shape == x.shape
    unet(straight).run()
    (picture,) = dmtool.load(str(straight), "sampler.steps=1", "device=cpu").sample("a red circle")
    assert picture.size == (16, 16)


def test_a_weight_rises_with_the_pictures_seen(tmp_path):
    """Of the step, so that parts of it and other processes agree."""
    stage = trainer("vae", tmp_path, *OWN["kl"], "vae.warmup=64", "limit.pictures=8").stage
    batch = stage.feed.batch(range(20, 28))  # of steps of 8 that begin at 16 and 24
    assert batch.seen.tolist() == [16] * 4 + [24] * 4
    beta = stage.config.vae.beta
    for first, share in ((0, 0), (16, 0.25), (64, 1), (640, 1)):
        terms = penalties.weighted(stage.config.vae, {"kl": torch.tensor(6.0)}, 12, first)
        assert terms["kl"] == (torch.tensor(0.5), beta * share)


def test_one_that_learns_to_mend_mends(tmp_path, monkeypatch):
    """What is shown is worse, each picture in its own way; what is asked for is not."""
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    words = ["data.count=400", "vae=ae", "vae.latent_channels=12", "vae.patch=2", "vae.widths=[32]",
             "held_out=32", "batch_size=16", "limit.pictures=1600", "optim.lr=2e-3",
             "corruption=gaussian", "corruption.strength=1.0"]  # fmt: skip
    mender = trainer("vae", tmp_path, *words)
    batch = mender.stage.feed.batch(range(8))
    assert torch.equal(batch.corrupted, mender.stage.feed.batch(range(8)).corrupted)
    assert (batch.corrupted != batch.image).any() and torch.equal(batch.shown, batch.corrupted)
    mender.run()
    with mender.context.shown.averaged(mender.context.average):
        figures = mender.stage.validate()
    assert figures.keys() == {"val_psnr", "val_ssim", "val_corrupted_psnr", "val_mended_psnr"}
    assert figures["val_mended_psnr"] > figures["val_corrupted_psnr"] + 0.5


def test_what_no_kind_can_be_is_a_line(tmp_path):
    for words, said in (
        (["vae=sparse", "vae.k=99"], "k=99 of 16 latent_channels"),
        (["vae=sparse", "vae.k=2"], "take l1=0 and rate=null"),
        (["vae=vq", "vae.latent_channels=1"], "restart draws by two"),
        (["vae=ae", "vae.beta=1"], "'vae.beta': another option of vae has it"),
        (["vae=fsq", "vae.levels=[]"], "vae.levels"),
    ):
        with pytest.raises(UserError, match=said):
            trainer("vae", tmp_path, *words)


def test_configs_networks_and_weights_know_the_same_kinds():
    kinds = {get_args(get_type_hints(schema)["kind"])[0] for schema in penalties.KINDS}
    assert kinds == set(KINDS) and set(get_args(get_args(Vae)[0])) == set(penalties.KINDS)
