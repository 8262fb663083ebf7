"""What a run that goes on accepts and refuses: content counts, names do not."""

import functools
import os
import shutil

import pytest
import torch
import transformers
from omegaconf import OmegaConf

from dmtool import runs
from dmtool.config import compose
from dmtool.config.stages import STAGES
from dmtool.config.validation import validate
from dmtool.data import shapes
from dmtool.errors import UserError
from dmtool.train import stages

WORDS = [
    "data=folder", "data.val=0.2", "limit.minutes=null", "batch_size=8", "every.log=8",
    "optim.warmup=0", "optim.schedule=constant", "held_out=2", "dtype=fp32", "device=cpu",
    "root=runs", "ema.snapshots=[]", "every.preview=null",
]  # fmt: skip
STAGE = {
    "vae": ["resolution=16", "vae.widths=[8]", "vae.groups=8", "vae.latent_channels=2"],
    "unet": ["text=scratch", "text.width=16", "text.depth=1", "text.heads=2", "text.max_length=64",
             "unet.widths=[16]", "unet.groups=8", "unet.heads=2", "unet.text_width=null",
             "sampler.steps=1"],
}  # fmt: skip


GROUPS = {"text", "codec", "optim"}
"""Words that choose a file of conf/, among those that tests give."""


def train(stage, pictures, *words):
    """The command, in this process: a run of so many pictures in all."""
    chosen = tuple(word for word in words if word.partition("=")[0] in GROUPS)
    values = [word for word in words if word not in chosen]
    values = OmegaConf.from_dotlist([f"limit.pictures={pictures}", *values])
    config = OmegaConf.merge(composed(stage, (*STAGE[stage], *chosen)), values)
    stages.train(validate(config, STAGES[stage]))


@functools.cache
def composed(stage, words):
    return compose.composed(f"train_{stage}", [*WORDS, *words])


def draw(folder, numbers):
    folder.mkdir(exist_ok=True)
    for i in numbers:
        scene, caption = shapes.scene(0, i)
        shapes.draw(scene, 16).save(folder / f"{i:02d}.png")
        (folder / f"{i:02d}.txt").write_text(caption)


def weights(run, stage="vae"):
    return (runs.find(run, stage).path / "model.safetensors").read_bytes()


def data_card(run):
    return runs.find(run, "vae").card["data"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A working directory with 14 captioned pictures, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMTOOL_CACHE", str(tmp_path / "cache"))
    draw(tmp_path / "p", range(14))
    return tmp_path


def test_other_pictures_are_refused_by_what_differs_or_accepted_and_recorded(home):
    train("vae", 8, "data.path=p")
    first = data_card("default")["fingerprint"]
    assert data_card("default")["pictures"] == 14 and data_card("default")["earlier"] == []
    draw(home / "p", [14, 15])
    (home / "p/03.png").unlink()
    before = weights("default")
    with pytest.raises(UserError) as refused:
        train("vae", 16, "data.path=p")
    said = str(refused.value)
    assert "2 added: 14.png, 15.png, 1 removed: 03.png" in said and first in said
    assert "other_pictures=accept" in said and weights("default") == before
    shutil.rmtree(home / "cache")
    with pytest.raises(UserError, match=r"\(14 then, 15 now;"):
        train("vae", 16, "data.path=p")
    train("vae", 16, "data.path=p", "other_pictures=accept")
    train("vae", 24, "data.path=p")
    card = data_card("default")
    assert card["earlier"] == [{"fingerprint": first, "pictures_seen": 8}]
    assert card["fingerprint"] != first and card["pictures"] == 15
    (home / "p/05.txt").write_text("another caption")
    with pytest.raises(UserError, match=r"\(1 changed: 05\.png;"):
        train("vae", 32, "data.path=p")


def test_the_same_pictures_by_other_names_are_the_same_training(home):
    train("vae", 16, "data.path=p", "run=straight")
    train("vae", 8, "data.path=p", "run=moved")
    shutil.copytree(home / "p", home / "scratch")  # as staged for a job: other times, too
    for file in (home / "scratch").iterdir():
        os.utime(file, (1, 1))
    shutil.rmtree(home / "p")
    train(
        "vae",
        16,
        f"data.path={home}/scratch/",
        "run=moved",
        "data.workers=1",
        "data.memory_mb=0",
        "recovery.after=3",
        "recovery.lr_factor=0.1",
        "data.max_bad=0.5",
    )
    assert weights("moved") == weights("straight")
    train("vae", 24, "data.path=scratch", "run=moved")


def test_other_settings_are_refused_by_the_leaf_that_differs(home):
    train("vae", 8, "data.path=p")
    with pytest.raises(UserError) as refused:
        train("vae", 16, "data.path=p", "optim.lr=0.25", "vae.groups=4", "data.flip=true")
    leaves = "data.flip=false, now true; optim.lr=0.002, now 0.25; vae.groups=8, now 4"
    assert f"runs/default/vae was begun with {leaves}: take" in str(refused.value)
    with pytest.raises(UserError, match=r'begun with optim\.kind="adamw", now "muon": take'):
        train("vae", 16, "data.path=p", "optim=muon")
    shutil.rmtree("runs/default/vae/artifacts")  # nothing says what was trained on: names count
    with pytest.raises(UserError, match=r'data\.path="p", now "p/"'):
        train("vae", 16, "data.path=p/")
    train("vae", 16, "data.path=p")


def test_an_autoencoder_that_was_trained_on_is_refused_under_its_noise_predictor(home):
    train("vae", 8, "data.path=p")
    train("unet", 8, "data.path=p")
    shutil.copytree("runs/default/vae", "runs/before/vae")
    train("vae", 16, "data.path=p")
    card = runs.find("default", "unet").card
    spaces = [runs.find(run, "vae").card["space_id"] for run in ("before", "default")]
    with pytest.raises(UserError) as refused:
        train("unet", 16, "data.path=p")
    assert all(space in str(refused.value) for space in spaces)
    assert runs.find("default", "unet").card == card
    train("unet", 16, "data.path=p", "from.vae=before")  # the one of before, by another name


def test_a_text_encoder_is_known_by_its_weights(home, monkeypatch):
    for name, std in (("a", 0.1), ("b", 0.2)):
        encoder(home / name, std)
    shutil.copytree("a", "moved")
    monkeypatch.setitem(STAGE, "unet", [
        *(word for word in STAGE["unet"] if not word.startswith("text")), "codec=pixels",
        "resolution=16", "unet.patch=4", "data.path=p", "text=hf", "text.max_length=16",
    ])  # fmt: skip

    def hf(pictures, name):
        train("unet", pictures, f"text.name={name}")

    hf(8, "a")
    shutil.rmtree("a")
    hf(16, home / "moved")
    with pytest.raises(UserError, match=r"begun with the text encoder .*moved' of sha256"):
        hf(24, "b")


def encoder(folder, std):
    """A BERT-like network of a few letters."""
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue"]
    (folder / "vocab.txt").write_text("\n".join(words))
    config = transformers.BertConfig(
        vocab_size=len(words), num_hidden_layers=1, max_position_embeddings=24, hidden_size=16,
        intermediate_size=16, num_attention_heads=2, initializer_range=std,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)


@pytest.mark.parametrize(("val", "every"), [(0, 8), (0, "null"), (0.2, 8)])
def test_figures_of_training_pictures_are_announced(val, every, capsys):
    train("vae", 8, "data.path=p", f"data.val={val}", "data.test=0", f"every.validate={every}")
    said = "vae: val_psnr, val_ssim will be of training pictures" in capsys.readouterr().out
    assert said == (val == 0 and every == 8)
    assert data_card("default")["validated_on"] == ("train" if val == 0 else "val")
