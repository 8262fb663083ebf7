"""`dmtool verify-resume`: yes to a training that resumes exactly, no to one that does not."""

import shutil

import pytest
import torch

from dmtool.errors import CheckFailed
from dmtool.files.tensors import write_tensors
from dmtool.train.checkpoint import OLDER
from dmtool.train.verify import compare

VAE = [
    "data=shapes", "data.count=40", "data.size=16", "resolution=16", "vae.widths=[16]",
    "vae.groups=8", "batch_size=8",
]  # fmt: skip


def checkpoint(path, weight):
    path.mkdir(parents=True)
    for name in OLDER:
        write_tensors(path / name, {"w": torch.tensor([weight])})


@pytest.fixture
def pair(tmp_path):
    """Two trainings whose weight goes from 0 to 1 after the kill."""
    for run in ("a", "b"):
        for name, weight in (("000000000500", 0.0), ("000000002000", 1.0)):
            checkpoint(tmp_path / run / name, weight)
    return tmp_path / "a", tmp_path / "b"


@pytest.mark.parametrize(("weight", "exact", "says"), [
    (1.0, True, "bit-identical"), (1.0, False, "bit-identical"),
    (1.0000001, False, "differ by 1.2e-07 of what training changed"),
    (1.04, False, "within the tolerance of 0.05"),
    (1.0000001, True, None), (1.06, False, None), (float("nan"), False, None),
])  # fmt: skip
def test_what_it_says_of_a_difference(pair, weight, exact, says):
    newest = pair[1] / "000000002000"
    shutil.rmtree(newest)
    checkpoint(newest, weight)
    if says is None:
        with pytest.raises(CheckFailed, match="allowed is"):
            compare(*pair, "000000000500", exact=exact)
    else:
        assert says in compare(*pair, "000000000500", exact=exact)


def test_optimizer_states_count_as_well(pair):
    path = pair[1] / "000000002000/optimizer.safetensors"
    write_tensors(path, {"w": torch.tensor([3.0])})
    with pytest.raises(CheckFailed, match="differ by 0 of"):
        compare(*pair, "000000000500", exact=True)


def test_another_end_is_a_failure(pair):
    shutil.rmtree(pair[1] / "000000002000")
    with pytest.raises(CheckFailed, match="ended at 500 pictures"):
        compare(*pair, "000000000500", exact=True)


@pytest.mark.slow
def test_the_command(dmtool, tmp_path):
    dmtool("train-vae", *VAE, "limit.minutes=null", "limit.pictures=64", cwd=tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = dmtool("verify-resume", "vae", *VAE, cwd=tmp_path)
    assert "bit-identical" in done.stdout.splitlines()[-1]
    unet = ["data=shapes", "data.count=40", "data.size=16", "text=none", "unet.widths=[32]",
            "unet.patch=1", "unet.depths=[0]", "unet.middle_depth=0", "unet.groups=8",
            "preview.prompts=[x]", "unet.blocks=[1]", "batch_size=16"]  # fmt: skip
    done = dmtool("verify-resume", "unet", *unet, cwd=tmp_path)
    assert "bit-identical" in done.stdout.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before
